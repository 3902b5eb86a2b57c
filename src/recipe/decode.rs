//! A checked item tree → the typed recipe. What `check` has reported already is passed over here in silence.

use super::check::{duration, probe};
use super::rules::{
    ANSWER, BAD_VALUE, BOOT_ADDRESS, DUPLICATE, ESCAPES, MISSING_FILE, MISSING_KEY, NETWORK, PROBE, TOO_LARGE,
};
use super::source::{Item, Place, Report, normal};
use super::{
    Architecture, Archive, Artifact, BootParameter, Distribution, ImageSpec, Probe, ProbeCheck, Recipe, Units, User,
    Waiver,
};
use crate::boot::KernelArgs;
use crate::door::{self, MAX_ENTRIES};
use crate::network::{Cidr, KernelIp, NetworkMode, NetworkSpec};
use crate::values::{
    Answer, ByteSize, GuestPath, HttpPath, InterfaceName, Name, ParameterKind, ParameterName, Sha256, shown,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The longest command line that x86 kernels take (`COMMAND_LINE_SIZE`).
const MAX_ARGS: usize = 2048;

/// Builds the recipe, noting what only shows when values are seen together.
pub(super) fn decode(item: &Item, report: &mut Report) -> Recipe {
    let empty = Item { place: item.place, value: super::source::ItemValue::Null };
    let part = |key: &str| item.get(key).unwrap_or(&empty);
    for key in ["name", "distribution", "image", "kernel", "network"] {
        if item.get(key).is_none() {
            report.error(
                MISSING_KEY,
                item.place,
                format!("the recipe has no `{key}`"),
                "missing here",
                Some(format!("add `{key}:`, or include a recipe that has it")),
            );
        }
    }
    let name = typed(item, "name").unwrap_or_else(Name::unnamed);
    let distribution = distribution(part("distribution"), report);
    let mut packages: Vec<String> = texts(item, "packages");
    packages.sort();
    packages.dedup();
    let named = item.items_of("packages").iter().chain(part("kernel").get("package"));
    let mut package_places = BTreeMap::new();
    for (name, place) in named.filter_map(|item| Some((item.text()?, item.place))) {
        package_places.entry(name.to_owned()).or_insert_with(|| report.shown(place));
    }
    let kernel_package = part("kernel").text_of("package").unwrap_or_default().to_owned();
    let packages_digest = digest(&(
        distribution
            .archives
            .iter()
            .map(|archive| (&archive.mirror, &archive.suite, &archive.components, &archive.snapshot))
            .collect::<Vec<_>>(),
        Architecture::Amd64.as_str(),
        &packages,
        &kernel_package,
    ));
    let network = network(part("network"), report);
    boot_address(part("boot"), &network, report);
    Recipe {
        file: report.sources.first().map(|source| source.path.clone()).unwrap_or_default(),
        digest: canonical(item),
        packages_digest,
        distribution,
        architecture: Architecture::Amd64,
        image: image(part("image"), &name, report),
        packages,
        package_places,
        debconf: answers(item, report),
        kernel_package,
        network,
        hostname: item.text_of("hostname").map(str::to_owned),
        boot_args: boot_args(part("boot"), report),
        boot_parameters: boot_parameters(part("boot"), report),
        users: users(item, report),
        overlays: overlays(item, report),
        artifacts: artifacts(item, report),
        units: units(part("units")),
        renew: texts(item, "renew"),
        run: item
            .items_of("run")
            .iter()
            .map(|command| command.items().iter().filter_map(Item::text).map(str::to_owned).collect())
            .collect(),
        probes: probes(item, report),
        waivers: waivers(item),
        size_budget: item.text_of("size_budget").and_then(|text| text.parse().ok()),
        name,
    }
}

/// A value that the table of keys has checked already: what is none is passed over here.
fn typed<T: FromStr>(item: &Item, key: &str) -> Option<T> {
    item.text_of(key)?.parse().ok()
}

fn texts(item: &Item, key: &str) -> Vec<String> {
    item.items_of(key).iter().filter_map(Item::text).map(str::to_owned).collect()
}

fn flag(item: &Item, key: &str) -> bool {
    item.text_of(key) == Some("true")
}

fn digest(value: &impl serde::Serialize) -> Sha256 {
    Sha256::of(&serde_json::to_vec(value).unwrap_or_default())
}

/// A digest over keys and values; places, comments and the order of keys do not count.
fn canonical(item: &Item) -> Sha256 {
    fn value(item: &Item) -> serde_json::Value {
        use super::source::ItemValue;
        match &item.value {
            ItemValue::Null => serde_json::Value::Null,
            ItemValue::Scalar { text, .. } => text.as_str().into(),
            ItemValue::List(items) => items.iter().map(value).collect(),
            ItemValue::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), value(&entry.item)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
    digest(&value(item))
}

fn host(item: &Item, text: &str, report: &Report) -> PathBuf {
    report.folder(item.place).join(text)
}

fn distribution(item: &Item, report: &mut Report) -> Distribution {
    let suite = item.text_of("suite").unwrap_or_default();
    let components = texts(item, "components");
    let components = if components.is_empty() { vec!["main".to_owned()] } else { components };
    let keyring = match item.get("keyring") {
        Some(keyring) => {
            let path = host(keyring, keyring.text().unwrap_or_default(), report);
            if exists(&path, keyring.place, "the keyring", report)
                && report.confined(&path, keyring.place, "the keyring")
            {
                regular(&path, keyring.place, "the keyring", report);
            }
            path
        }
        None => PathBuf::from(KEYRING),
    };
    let snapshot = item.text_of("snapshot");
    let archive = |mirror: &str, suite: String, old: &str| Archive {
        mirror: mirror.to_owned(),
        suite,
        components: components.clone(),
        snapshot: snapshot.map(|url| format!("{url}/{old}")),
        keyring: keyring.clone(),
    };
    let mirror = item.text_of("mirror").unwrap_or(MIRROR);
    let mut archives = vec![archive(mirror, suite.to_owned(), "debian")];
    if flag(item, "updates") {
        archives.push(archive(mirror, format!("{suite}-updates"), "debian"));
    }
    if let Some(security) = item.text_of("security") {
        archives.push(archive(security, format!("{suite}-security"), "debian-security"));
    }
    Distribution { name: item.text_of("name").unwrap_or_default().to_owned(), archives }
}

fn image(item: &Item, name: &Name, report: &mut Report) -> ImageSpec {
    let size = item.text_of("size").and_then(|text| text.parse().ok()).unwrap_or(ByteSize(0));
    if let Some(place) = item.get("size").filter(|_| !size.0.is_multiple_of(1 << 20)).map(|item| item.place) {
        report.error(BAD_VALUE, place, "the image's size is not a multiple of 1M", "not whole megabytes", None);
    }
    let label = typed(item, "label").unwrap_or_else(|| name.into());
    ImageSpec { size, label }
}

fn network(item: &Item, report: &mut Report) -> NetworkSpec {
    let interface = typed(item, "interface").unwrap_or_else(InterfaceName::eth0);
    let mut problem = |place, message: String, label: &str, help: &str| {
        report.error(NETWORK, place, message, label, Some(help.to_owned()));
    };
    if item.text_of("mode") != Some("static") {
        for key in ["address", "gateway", "dns"] {
            if let Some(extra) = item.get(key).filter(|_| item.text_of("mode") == Some("dhcp")) {
                problem(
                    extra.place,
                    format!("`{key}` has no meaning with `mode: dhcp`"),
                    "would be ignored",
                    "remove it, or write `mode: static`",
                );
            }
        }
        return NetworkSpec { interface, mode: NetworkMode::Dhcp };
    }
    let address = item.text_of("address").and_then(|text| text.parse::<Cidr>().ok());
    let gateway = item.text_of("gateway").and_then(|text| text.parse().ok());
    let dns = item.items_of("dns").iter().filter_map(|item| item.text()?.parse().ok()).collect();
    let Some(address) = address else {
        if item.get("address").is_none() {
            problem(
                item.place,
                "`mode: static` needs an address".to_owned(),
                "no `address` here",
                "add `address: 192.168.100.12/24`, or write `mode: dhcp`",
            );
        }
        return NetworkSpec { interface, mode: NetworkMode::Dhcp };
    };
    if let (Some(gateway), Some(place)) = (gateway, item.get("gateway").map(|item| item.place)) {
        if !address.contains(gateway) {
            problem(
                place,
                format!("the gateway {gateway} is outside {address}"),
                "cannot be reached",
                "the kernel refuses such a default route: correct the gateway or the prefix length",
            );
        } else if gateway == address.address {
            problem(
                place,
                format!("the gateway {gateway} is the guest's own address"),
                "the guest itself",
                "name the host's address on the bridge",
            );
        }
    }
    NetworkSpec { interface, mode: NetworkMode::Static { address, gateway, dns } }
}

fn boot_args(item: &Item, report: &mut Report) -> KernelArgs {
    let line = texts(item, "args").join(" ");
    if let Some(args) = item.get("args").filter(|_| line.len() > MAX_ARGS) {
        report.error(
            BAD_VALUE,
            args.place,
            format!("the kernel arguments have {} bytes, the kernel takes {MAX_ARGS}", line.len()),
            "too long",
            None,
        );
    }
    KernelArgs::parse(&line)
}

/// An `ip=` in the boot arguments must not name another address than the declared network.
fn boot_address(item: &Item, declared: &NetworkSpec, report: &mut Report) {
    for arg in item.items_of("args") {
        let Some((key, value)) = arg.text().and_then(|text| text.split_once('=')) else { continue };
        if !matches!(key, "ip" | "nfsaddrs") {
            continue;
        }
        let kernel = KernelIp::parse(value);
        let (message, help) = match (&declared.mode, kernel.address) {
            (NetworkMode::Dhcp, Some(address)) => (
                format!("{} is {address} by `{key}=` but `network` declares DHCP", declared.interface),
                "drop the argument, or declare the address: `network: { mode: static, … }`",
            ),
            (NetworkMode::Static { address: own, .. }, Some(address)) if own.address != address => (
                format!("{} is {address} by `{key}=` but `network` declares {}", declared.interface, own.address),
                "drop the argument: the declared network is enough",
            ),
            (NetworkMode::Static { address: own, .. }, None) if kernel.asks() => (
                format!("`{key}=` asks for a lease but `network` declares {}", own.address),
                "drop the argument: the declared network is enough",
            ),
            _ => continue,
        };
        report.error(BOOT_ADDRESS, arg.place, message, "a second source of the address", Some(help.to_owned()));
    }
}

fn boot_parameters(item: &Item, report: &mut Report) -> BTreeMap<ParameterName, BootParameter> {
    let mut parameters = BTreeMap::new();
    for entry in item.get("parameters").map(Item::entries).unwrap_or_default() {
        let item = &entry.item;
        let kind = item.text_of("type").and_then(ParameterKind::from_name).unwrap_or(ParameterKind::String);
        let default = item.text_of("default").map(str::to_owned);
        if let (Some(value), Some(place)) = (&default, item.get("default").map(|item| item.place))
            && let Err(problem) = kind.accepts(value)
        {
            report.error(BAD_VALUE, place, problem, "not of the declared type", None);
        }
        let Ok(name) = entry.key.parse::<ParameterName>() else {
            report.error(
                BAD_VALUE,
                entry.place,
                format!("`{}` is no name for a kernel argument", shown(&entry.key)),
                ParameterName::EXPECTED,
                None,
            );
            continue;
        };
        let default = default.and_then(|text| text.parse().ok());
        let description = typed(item, "description");
        parameters.insert(name, BootParameter { kind, optional: flag(item, "optional"), default, description });
    }
    parameters
}

fn users(item: &Item, report: &mut Report) -> Vec<User> {
    let items = item.items_of("users");
    unique(items, "name", "user", report);
    for comment in items
        .iter()
        .filter_map(|item| item.get("comment"))
        .filter(|item| item.text().is_some_and(|text| text.contains(':')))
    {
        report.error(
            BAD_VALUE,
            comment.place,
            "a user's comment may not hold `:`",
            "separates the fields of passwd(5)",
            None,
        );
    }
    let user = |item: &Item| {
        let name = item.text_of("name")?.to_owned();
        let system = flag(item, "system");
        let path =
            |key: &str, default: String| item.text_of(key).map_or(default, str::to_owned).parse::<GuestPath>().ok();
        Some(User {
            system,
            uid: item.text_of("uid").and_then(|text| text.parse().ok()),
            groups: texts(item, "groups"),
            shell: path("shell", if system { "/usr/sbin/nologin" } else { "/bin/bash" }.to_owned())?,
            home: path("home", if system { "/nonexistent".to_owned() } else { format!("/home/{name}") })?,
            comment: item.text_of("comment").unwrap_or_default().to_owned(),
            name,
        })
    };
    items.iter().filter_map(user).collect()
}

/// Notes every second item with the same text below a key.
fn unique(items: &[Item], key: &str, what: &str, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for item in items.iter().filter_map(|item| item.get(key)) {
        if let Some(text) = item.text().filter(|text| !seen.insert((*text).to_owned())) {
            report.error(DUPLICATE, item.place, format!("there is a {what} `{text}` already"), "the second one", None);
        }
    }
}

/// The most bytes of a preseed file.
const MAX_PRESEED: u64 = 1 << 20;

/// Answers to debconf's questions, those of a preseed file in its place.
fn answers(item: &Item, report: &mut Report) -> Vec<Answer> {
    let mut answers = Vec::new();
    for item in item.items_of("debconf") {
        if let Some(file) = item.get("preseed") {
            if let Some(extra) = item.entries().iter().find(|entry| entry.key != "preseed") {
                let message = format!("`{}` has no meaning beside `preseed`", shown(&extra.key));
                let help = "write an entry of its own".to_owned();
                report.error(ANSWER, extra.place, message, "would be ignored", Some(help));
            }
            answers.extend(preseed(file, report));
            continue;
        }
        let text = |key: &str| item.text_of(key).map(str::to_owned);
        let answer = (text("owner"), text("question"), text("type"), text("value"));
        let (Some(owner), Some(question), Some(kind), Some(value)) = answer else {
            for key in ["owner", "question", "type", "value"].into_iter().filter(|key| item.get(key).is_none()) {
                let help = Some(format!("add `{key}:`"));
                report.error(ANSWER, item.place, format!("the answer has no `{key}`"), "missing here", help);
            }
            continue;
        };
        if let Some(item) = item.get("value").filter(|_| value.ends_with('\\')) {
            report.error(
                ANSWER,
                item.place,
                "an answer may not end in `\\`",
                "debconf takes the next line as a part of it",
                None,
            );
            continue;
        }
        answers.push(Answer { owner, question, kind, value, place: report.shown(item.place), shared: false });
    }
    answers
}

fn preseed(item: &Item, report: &mut Report) -> Vec<Answer> {
    let Some(name) = item.text() else { return Vec::new() };
    let path = normal(&host(item, name, report));
    if !exists(&path, item.place, "the preseed file", report) || !report.confined(&path, item.place, "the preseed file")
    {
        return Vec::new();
    }
    let text = match door::read_text(&path, "a preseed file", MAX_PRESEED) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("the preseed file {} cannot be used: {}", path.display(), error.problem);
            report.error(MISSING_FILE, item.place, message, "cannot be read", None);
            return Vec::new();
        }
    };
    let (answers, problems) = Answer::preseed(&text, name);
    for problem in problems {
        report.error(ANSWER, item.place, problem, "named here", None);
    }
    answers
}

/// The most overlays of a recipe.
const MAX_OVERLAYS: usize = 1000;

/// All overlays, with no more files in them than an image could take.
fn overlays(item: &Item, report: &mut Report) -> Vec<PathBuf> {
    let items = item.items_of("overlays");
    if let Some(extra) = items.get(MAX_OVERLAYS) {
        let message = format!("there are {} overlays; a recipe has at most {MAX_OVERLAYS}", items.len());
        report.error(TOO_LARGE, extra.place, message, "too many", None);
        return Vec::new();
    }
    let mut left = MAX_ENTRIES;
    items.iter().filter_map(|item| overlay(item, &mut left, report)).collect()
}

/// An overlay folder: it must exist, the way to it must not leave the place it is written at, and there must be nothing
/// in it that does not come into an image. `left` is how many entries there may be.
fn overlay(item: &Item, left: &mut usize, report: &mut Report) -> Option<PathBuf> {
    let path = host(item, item.text()?, report);
    if !exists(&path, item.place, "the overlay", report) {
        return None;
    }
    if !path.is_dir() {
        let message = format!("the overlay {} is not a folder", path.display());
        report.error(MISSING_FILE, item.place, message, "not a folder", None);
        return None;
    }
    let plain = normal(&path);
    let folder = normal(report.folder(item.place));
    let (real, real_folder) = (plain.canonicalize().ok()?, folder.canonicalize().ok()?);
    if !report.confined(&plain, item.place, "the overlay") {
        return None;
    }
    // The same steps from the recipe's folder must lead to the same place with and without symbolic links.
    let steps = |from: &Path, to: &Path| {
        let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
        let up = from.components().count() - shared;
        (up, to.components().skip(shared).collect::<PathBuf>())
    };
    if steps(&real_folder, &real) != steps(&folder, &plain) {
        let message =
            format!("the overlay {} is reached through a symbolic link and is really {}", item.text()?, real.display());
        let help = "name the real folder, or copy it into the repository".to_owned();
        report.error(ESCAPES, item.place, message, "leads elsewhere", Some(help));
        return None;
    }
    match survey(&plain, left) {
        Ok(()) => Some(plain),
        Err(Survey::Entry(path, problem)) => {
            let message = format!("{} in the overlay is {problem}", path.display());
            let help = "overlays hold regular files, folders and symbolic links".to_owned();
            report.error(MISSING_FILE, item.place, message, "cannot be shipped", Some(help));
            None
        }
        Err(Survey::Folder(error)) => {
            let rule = if matches!(error.problem, door::Problem::Many(_)) { TOO_LARGE } else { MISSING_FILE };
            let message = format!("the overlay's {} cannot be used: {}", error.path.display(), error.problem);
            report.error(rule, item.place, message, "cannot be shipped", None);
            None
        }
    }
}

/// Why an overlay cannot be shipped.
enum Survey {
    Entry(PathBuf, String),
    Folder(door::Error),
}

impl From<door::Error> for Survey {
    fn from(error: door::Error) -> Self {
        Self::Folder(error)
    }
}

/// Looks at everything in an overlay, without opening it.
fn survey(folder: &Path, left: &mut usize) -> Result<(), Survey> {
    let mut seen = 0;
    let result = door::walk(folder, *left, |door::Entry { path, kind }| {
        seen += 1;
        let name = path.strip_prefix(folder).unwrap_or(&path).to_str();
        let problem = match name.map(GuestPath::from_archive) {
            None => "named in other than UTF-8".to_owned(),
            Some(Err(error)) => format!("no path for an image: {error}"),
            Some(Ok(_)) if kind.is_file() || kind.is_dir() || kind.is_symlink() => return Ok(()),
            Some(Ok(_)) => "a device, pipe or socket".to_owned(),
        };
        Err(Survey::Entry(path, problem))
    });
    *left = left.saturating_sub(seen);
    result
}

fn exists(path: &Path, place: Place, what: &str, report: &mut Report) -> bool {
    let there = path.exists();
    if !there {
        report.error(
            MISSING_FILE,
            place,
            format!("{what} {} does not exist", normal(path).display()),
            "not found",
            None,
        );
    }
    there
}

/// Notes what is there and is not a regular file.
fn regular(path: &Path, place: Place, what: &str, report: &mut Report) {
    let Ok(kind) = path.metadata().map(|metadata| metadata.file_type()) else { return };
    if !kind.is_file() {
        let message = format!("{what} {} is {}, not a file", path.display(), door::kind_of(kind));
        let help = "name a regular file; links are followed, pipes and devices are not read".to_owned();
        report.error(MISSING_FILE, place, message, "not a file", Some(help));
    }
}

fn artifacts(item: &Item, report: &mut Report) -> Vec<Artifact> {
    let items = item.items_of("artifacts");
    unique(items, "path", "artifact at", report);
    let mut artifacts = Vec::new();
    for item in items {
        let (Some(source), Some(path)) = (item.get("source"), item.text_of("path").and_then(|path| path.parse().ok()))
        else {
            continue;
        };
        let hint = item.text_of("hint").map(str::to_owned);
        // Whether it has been built is the build's business, not the recipe's.
        let file = normal(&host(source, source.text().unwrap_or_default(), report));
        if report.confined(&file, source.place, "the artifact") {
            regular(&file, source.place, "the artifact", report);
        }
        let (owner, group) = item.text_of("owner").and_then(|owner| owner.split_once(':')).unwrap_or(("root", "root"));
        artifacts.push(Artifact {
            source: file,
            path,
            mode: item.text_of("mode").and_then(|mode| u16::from_str_radix(mode, 8).ok()).unwrap_or(0o755),
            owner: owner.to_owned(),
            group: group.to_owned(),
            hint,
        });
    }
    artifacts
}

fn units(item: &Item) -> Units {
    Units {
        enable: texts(item, "enable"),
        disable: texts(item, "disable"),
        mask: texts(item, "mask"),
        default: item.text_of("default").map(str::to_owned),
    }
}

fn probes(item: &Item, report: &mut Report) -> Vec<Probe> {
    let items = item.items_of("probes");
    unique(items, "name", "probe", report);
    let mut probes = Vec::new();
    for item in items {
        let check = match (item.text_of("http").and_then(probe), item.text_of("tcp").and_then(probe)) {
            (Some((port, path)), None) => match path.parse::<HttpPath>() {
                Ok(path) => ProbeCheck::Http { port, path },
                Err(_) => continue,
            },
            (None, Some((port, _))) => ProbeCheck::Tcp { port, banner: typed(item, "banner") },
            _ => {
                if item.get("http").is_some() == item.get("tcp").is_some() {
                    report.error(
                        PROBE,
                        item.place,
                        "a probe asks either `http` or `tcp`",
                        "asks for neither, or both",
                        None,
                    );
                }
                continue;
            }
        };
        let timeout = item.text_of("timeout").and_then(duration).unwrap_or(Duration::from_secs(120));
        let fragment = typed(item, "fragment");
        if fragment.is_some() && !matches!(check, ProbeCheck::Http { .. }) {
            report.error(PROBE, item.place, "only the address of `http` has a `fragment`", "asks for `tcp`", None);
        }
        let name = typed(item, "name").unwrap_or_else(Name::unnamed);
        probes.push(Probe { name, check, fragment, timeout });
    }
    probes
}

fn waivers(item: &Item) -> Vec<Waiver> {
    let waiver = |item: &Item| Some(Waiver { rule: typed(item, "rule")?, reason: typed(item, "reason")? });
    item.items_of("allow").iter().filter_map(waiver).collect()
}
