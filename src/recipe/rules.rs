//! What can be wrong with a recipe. Ids are never reused.

use crate::findings::{RuleDoc, Severity};

pub(super) const SYNTAX: &str = "REC-001";
pub(super) const UNKNOWN_KEY: &str = "REC-002";
pub(super) const WRONG_TYPE: &str = "REC-003";
pub(super) const BAD_VALUE: &str = "REC-004";
pub(super) const MISSING_KEY: &str = "REC-005";
pub(super) const UNREADABLE: &str = "REC-006";
pub(super) const INCLUDE_CYCLE: &str = "REC-007";
pub(super) const PARAMETER: &str = "REC-008";
pub(super) const MISSING_FILE: &str = "REC-009";
pub(super) const ESCAPES: &str = "REC-010";
pub(super) const DUPLICATE: &str = "REC-011";
pub(super) const NETWORK: &str = "REC-012";
pub(super) const PROBE: &str = "REC-013";
pub(super) const BOOT_ADDRESS: &str = "REC-014";
pub(crate) const STALE_LOCK: &str = "REC-015";
pub(super) const MORE: &str = "REC-016";
pub(super) const OUTSIDE: &str = "REC-017";
pub(super) const TOO_LARGE: &str = "REC-018";
pub(super) const ANSWER: &str = "REC-019";

const fn doc(id: &'static str, slug: &'static str, title: &'static str, text: &'static str) -> RuleDoc {
    RuleDoc { id, slug, severity: Severity::Error, title, text }
}

/// What each rule means.
pub const RULES: &[RuleDoc] = &[
    doc(
        SYNTAX,
        "syntax",
        "The file is not YAML, or not one document.",
        "Recipes are read strictly: a key may stand only once, a text has at most 1 MiB, and aliases may not multiply without bound.",
    ),
    doc(
        UNKNOWN_KEY,
        "unknown-key",
        "A key that the recipe language does not have.",
        "It would be silently ignored elsewhere; here it is refused, because a misspelt key is a setting that is not made.\n\n# Fix\n`goldsmith schema` lists the keys; the message names the nearest one.",
    ),
    doc(
        WRONG_TYPE,
        "wrong-type",
        "A list where one value is expected, or the like.",
        "# Fix\nWrite the value in the form that the message names.",
    ),
    doc(
        BAD_VALUE,
        "bad-value",
        "A value that does not have the form its key asks for.",
        "Every value is checked before anything is fetched or built.",
    ),
    doc(MISSING_KEY, "missing-key", "A key that must be there is not.", "# Fix\nAdd it, here or in an included file."),
    doc(
        UNREADABLE,
        "unreadable",
        "A recipe file cannot be read.",
        "It does not exist, is a folder or a pipe, has more than 1 MiB, or is not UTF-8. Of a file that does not say \
         `schema: goldsmith/…` nothing is shown: it may be any file that whoever builds can read.",
    ),
    doc(
        INCLUDE_CYCLE,
        "include-cycle",
        "A recipe includes itself, directly or through others.",
        "# Fix\nMove what both need into a third file that includes neither.",
    ),
    doc(
        PARAMETER,
        "parameter",
        "A parameter is not declared, has no value, or one of another type.",
        "A `--set` for a parameter that the recipe does not declare would otherwise do nothing, silently.",
    ),
    doc(
        MISSING_FILE,
        "missing-file",
        "An overlay, artifact or keyring that the recipe names does not exist on this machine, or is of the wrong kind.",
        "Only regular files, folders and symbolic links come into an image from outside: no device, pipe or socket. Relative paths start from the folder of the file that names them.",
    ),
    doc(
        ESCAPES,
        "escapes",
        "An overlay folder is a symbolic link, or lies behind one that leads elsewhere.",
        "What is built would not be what the recipe's repository holds.\n\n# Fix\nName the real folder.",
    ),
    doc(
        DUPLICATE,
        "duplicate",
        "Two users or probes of one name, or two artifacts for one path.",
        "Only one of them could be meant.",
    ),
    doc(
        NETWORK,
        "network",
        "The declared network does not work.",
        "A static address without its address, a gateway outside the prefix, an address that is the network's own, or static keys with DHCP.",
    ),
    doc(
        PROBE,
        "probe",
        "A probe asks for nothing, or for two things at once.",
        "# Fix\nWrite either `http:` or `tcp:`.",
    ),
    doc(
        BOOT_ADDRESS,
        "boot-address",
        "The boot arguments give the guest another address than the declared network.",
        "The network is declared once, under `network:`. An `ip=` beside it is a second source: the kernel takes the one, the \
         guest's network manager the other, and nobody answers at the address that was promised. The same pair is refused \
         at launch as NET-K002.\n\n# Fix\nDrop `ip=` from `boot.args`, or declare the address under `network:`.",
    ),
    doc(
        MORE,
        "more",
        "The recipe has more problems than are shown.",
        "The first hundred are shown, the others are counted.\n\n# Fix\nCorrect the first ones, and check again.",
    ),
    doc(
        OUTSIDE,
        "outside",
        "With `--confined`: the recipe names something that lies outside its repository.",
        "Whoever builds can read more than whoever wrote the recipe: an include, overlay, artifact or keyring could carry it \
         into the image or into a message. With `--confined` all of them, and the lock, must lie below the recipe's repository \
         (the nearest folder above it with a `.git`, else its own folder) or below the folder that `--confined=DIR` names, \
         also after links are followed.\n\n# Fix\nMove the file into the repository, or name a wider folder.",
    ),
    doc(
        TOO_LARGE,
        "too-large",
        "The recipe, with all that it includes and repeats, is larger than is read.",
        "At most 256 files are included, 32 deep, with 300,000 values in all, a file counted as often as it is included; \
         parameters put at most 4 MiB into texts; there are at most 1000 overlays with 250,000 files in all.\n\n# Fix\nInclude what is \
         shared once, at the top.",
    ),
    doc(
        ANSWER,
        "debconf",
        "An answer to debconf is not complete, or a preseed file has lines that are none.",
        "An answer names its owner (the package), question, type and value, or a preseed file of lines `OWNER QUESTION TYPE \
         VALUE`. Whether packages have such a question is known once they are fetched: `build` says so, with the place.",
    ),
    RuleDoc {
        severity: Severity::Warning,
        ..doc(
            STALE_LOCK,
            "stale-lock",
            "The recipe's lock is missing, or belongs to other packages than the recipe asks for.",
            "The next build resolves the packages anew; with `--locked` it fails.\n\n# Fix\n`goldsmith lock RECIPE`, and commit \
             the lock.",
        )
    },
];
