//! The recipe language as one table: every key, its type, what it means. The checker, the JSON Schema and the
//! suggestions all read it, so they cannot disagree.

use crate::network::RENEWABLE;
use crate::values::ANSWER_KINDS;

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A single value of a certain form.
    Scalar(Form),
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A list. Its entries may be conditional: `{ when: PARAMETER, then: [...] }`.
    List(&'static Shape),
    /// Free names, each with a value.
    Map(&'static Shape),
    /// A mapping with known keys.
    Object(&'static [Key]),
    /// A list of single values, or one command line as a list of words.
    Words,
}

/// The form of a single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Name,
    Boolean,
    Integer,
    Size,
    Duration,
    HostPath,
    GuestPath,
    Mode,
    Url,
    Package,
    Unit,
    UserName,
    Owner,
    Interface,
    Banner,
    Line,
    Cidr,
    Address,
    Argument,
    HttpProbe,
    TcpProbe,
    Fragment,
    Label,
    Rule,
    Question,
}

/// A key of a mapping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub name: &'static str,
    pub required: bool,
    pub shape: Shape,
    pub doc: &'static str,
}

const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, required: false, shape, doc }
}

const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, required: true, shape, doc }
}

use Form::{
    Address, Argument, Banner, Boolean, Duration, Fragment, GuestPath, HostPath, HttpProbe, Integer, Interface, Label,
    Line, Mode, Name, Owner, Package, Question, Rule, Size, TcpProbe, Text, Unit, Url, UserName,
};
use Shape::{Choice, List, Map, Object, Scalar, Words};

const TEXT: Shape = Scalar(Text);
const KINDS: Shape = Choice(&["bool", "string", "integer", "port"]);
const ADDRESS: Shape = Scalar(Address);
const UNITS: Shape = List(&Scalar(Unit));

const DISTRIBUTION: Shape = Object(&[
    required("name", Choice(&["debian"]), "The distribution."),
    required("suite", Scalar(Name), "The release by its code name: `bookworm`."),
    key("components", List(&Scalar(Name)), "Parts of the archive. Default: `[main]`."),
    key("mirror", Scalar(Url), "Where packages come from. Default: `http://deb.debian.org/debian`."),
    key("updates", Scalar(Boolean), "Also use `SUITE-updates` of the mirror. Default: false."),
    key("security", Scalar(Url), "Mirror of the security archive; `SUITE-security` is used too."),
    key(
        "snapshot",
        Scalar(Url),
        "Archive of old versions (`https://snapshot.debian.org/archive`), asked for locked versions that left the mirror.",
    ),
    key(
        "keyring",
        Scalar(HostPath),
        "OpenPGP keyring that signs the archives. Default: Debian's, from the package debian-archive-keyring.",
    ),
]);

const NETWORK: Shape = Object(&[
    required("interface", Scalar(Interface), "Kernel name of the interface in the guest: `eth0`."),
    required("mode", Choice(&["dhcp", "static"]), "Where the address comes from."),
    key("address", Scalar(Form::Cidr), "Mode `static`: address with prefix length, `192.168.100.12/24`."),
    key("gateway", ADDRESS, "Mode `static`: default gateway, inside the prefix."),
    key("dns", List(&ADDRESS), "Mode `static`: name servers."),
]);

const BOOT_PARAMETER: Shape = Object(&[
    required("type", KINDS, "What values it takes."),
    key("optional", Scalar(Boolean), "A launch may leave it out. Default: false."),
    key("default", TEXT, "Taken when a launch does not set it."),
    key("description", Scalar(Line), "One sentence for whoever launches."),
]);

const USER: Shape = Object(&[
    required("name", Scalar(UserName), "Login name."),
    key("system", Scalar(Boolean), "A system user: id below 1000, no login shell, no home. Default: false."),
    key("uid", Scalar(Integer), "Numeric id. Default: the next free one."),
    key("groups", List(&Scalar(UserName)), "Additional groups; they must exist in the image."),
    key("shell", Scalar(GuestPath), "Login shell. Default: `/bin/bash`, or `/usr/sbin/nologin` for system users."),
    key("home", Scalar(GuestPath), "Home directory. Default: `/home/NAME`, or `/nonexistent` for system users."),
    key("comment", TEXT, "The comment field of passwd(5)."),
]);

const ARTIFACT: Shape = Object(&[
    required("source", Scalar(HostPath), "The built file on the host, relative to this recipe."),
    required("path", Scalar(GuestPath), "Where it goes in the image."),
    key("mode", Scalar(Mode), "Permission bits, octal. Default: `0755`."),
    key("owner", Scalar(Owner), "`user:group` by name. Default: `root:root`."),
    key("hint", TEXT, "What to type when the file is missing: `make agent`."),
]);

const PROBE: Shape = Object(&[
    required("name", Scalar(Name), "Shown while waiting."),
    key("http", Scalar(HttpProbe), "`:PORT/PATH`: ready when `GET` answers 2xx."),
    key(
        "fragment",
        Scalar(Fragment),
        "With `http`: what a browser needs behind the `#` of the address, with `{secret}` for the VM's secret, which every launch makes anew and hands to the guest as the credential `vm-secret`.",
    ),
    key("tcp", Scalar(TcpProbe), "`:PORT`: ready when a connection is accepted."),
    key("banner", Scalar(Banner), "With `tcp`: what the server must say first, as in `RFB `."),
    key("timeout", Scalar(Duration), "How long after the VM's start it may take. Default: `120s`."),
]);

const ANSWER: Shape = Object(&[
    key("owner", Scalar(Package), "The package that asks."),
    key("question", Scalar(Question), "Its question's name: `postfix/main_mailer_type`."),
    key("type", Choice(&ANSWER_KINDS), "The question's type, as its template says."),
    key("value", TEXT, "The answer."),
    key(
        "preseed",
        Scalar(HostPath),
        "Instead of the others: a file of answers in the form of debconf-set-selections(1). Lines for the installer (`d-i`) and for packages that are not in the image are passed over.",
    ),
]);

/// The recipe file.
pub(super) const RECIPE: &[Key] = &[
    required("schema", Choice(&[super::SCHEMA]), "The version of the recipe language."),
    key("name", Scalar(Name), "Names the output folder and the lock. Needed unless the file is only included."),
    key(
        "include",
        List(&Scalar(HostPath)),
        "Recipes merged below this one: mappings merge, lists append, single values of this file win.",
    ),
    key(
        "parameters",
        Map(&Object(&[
            required("type", KINDS, "What values it takes."),
            key("default", TEXT, "Taken when `--set` does not name it."),
            key("description", TEXT, "One sentence."),
        ])),
        "Values that `--set NAME=VALUE` may change: `{ when: NAME, then: [...] }` in lists, `${NAME}` in texts.",
    ),
    key("distribution", DISTRIBUTION, "Where packages come from."),
    key("architecture", Choice(&["amd64"]), "The machine. Default: `amd64`."),
    key(
        "image",
        Object(&[
            required("size", Scalar(Size), "Size of the image file, `8G`; it is sparse. A multiple of 1M."),
            key("filesystem", Choice(&["ext4"]), "Default: `ext4`."),
            key("label", Scalar(Label), "Filesystem label, at most 16 bytes. Default: the recipe's name."),
        ]),
        "The filesystem image.",
    ),
    key(
        "packages",
        List(&Scalar(Package)),
        "Packages to install, with their dependencies and without their recommendations.",
    ),
    key(
        "debconf",
        List(&ANSWER),
        "Answers to questions that packages ask through debconf, checked against the questions that they have; of two answers the later one counts. `build` lists the questions of high priority that nobody has answered.",
    ),
    key(
        "kernel",
        Object(&[required("package", Scalar(Package), "The kernel's package, as in `linux-image-cloud-amd64`.")]),
        "The kernel.",
    ),
    key(
        "network",
        NETWORK,
        "The network, said once: the guest's netplan file and the manifest's contract are derived from it.",
    ),
    key("hostname", Scalar(Interface), "`/etc/hostname`. Default: none, so that DHCP may name the guest."),
    key(
        "boot",
        Object(&[
            key("args", List(&Scalar(Argument)), "Kernel arguments, in order."),
            key(
                "parameters",
                Map(&BOOT_PARAMETER),
                "Arguments set per VM: `launch --set NAME=VALUE` appends `NAME=VALUE`.",
            ),
        ]),
        "How the kernel is called.",
    ),
    key("users", List(&USER), "Users to create, each with a group of its name."),
    key("overlays", List(&Scalar(HostPath)), "Directories laid over the image, relative to this recipe."),
    key("artifacts", List(&ARTIFACT), "Built files put into the image; their digests are in the manifest."),
    key(
        "units",
        Object(&[
            key("enable", UNITS, "Units that systemd starts."),
            key("disable", UNITS, "Units whose links are removed."),
            key("mask", UNITS, "Units that must never start."),
            key("default", Scalar(Unit), "What `default.target` is."),
        ]),
        "Systemd units.",
    ),
    key(
        "renew",
        List(&Choice(&RENEWABLE)),
        "Databases that each guest makes anew at its first boot, as their packages make them; they are not in the image. Without it all clones share their identifiers, and no two builds are the same. What `run` puts into them is lost.",
    ),
    key(
        "run",
        List(&Words),
        "Commands run in the image's sandbox after everything else, each a list of words. No network.",
    ),
    key("probes", List(&PROBE), "What must answer before a VM counts as ready."),
    key(
        "allow",
        List(&Object(&[
            required("rule", Scalar(Rule), "Rule id, as in `NET-K004`."),
            required("reason", Scalar(Line), "Why it may pass."),
        ])),
        "Rules that may be broken, each with its reason; they are shown and do not refuse.",
    ),
    key("size_budget", Scalar(Size), "The most the files in the image may take up; more fails the build."),
];
