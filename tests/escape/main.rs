//! Builds of a signed archive whose packages try to get out: as root and as an ordinary user, from a `preinst`, a `postinst`,
//! a trigger and a `run:` step, with descriptors left open by whoever started goldsmith. What is tried, and from where it is
//! known, is in `escape.c`. And builds that take what they can get: memory, time, processes, output.

#[path = "../common/mod.rs"]
mod common;
mod guest;

use common::archive::{self, FRESH, Key, stanza};
use common::mirror::Mirror;
use common::package::Package;
use common::user::User;
use common::workshop::{Run, Workshop};
use common::{cache, is_root, need, recipes, succeed};
use goldsmith::debian::{self, Deb, Lock};
use goldsmith::image::View;
use goldsmith::progress::Silent;
use goldsmith::store::Store;
use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where in a build the attempts are made. Each writes `/srv/STAGE.txt`.
const STAGES: [&str; 4] = ["preinst", "postinst", "trigger", "run"];

/// What a build of the hostile archive must leave as it was.
struct Host {
    folder: tempfile::TempDir,
    listener: TcpListener,
    _socket: UnixListener,
    mounts: String,
    groups: Vec<PathBuf>,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        fs::write(folder.path().join("canary"), "untouched").unwrap();
        fs::set_permissions(folder.path().join("canary"), PermissionsExt::from_mode(0o666)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("goldsmith-canary-{}", listener.local_addr().unwrap().port());
        let socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        Self { folder, listener, _socket: socket, mounts: mounts(), groups: groups() }
    }

    fn canary(&self) -> PathBuf {
        self.folder.path().join("canary")
    }

    fn call(&self, report: &str) -> Vec<String> {
        let port = self.listener.local_addr().unwrap().port().to_string();
        vec!["/usr/bin/escape".into(), format!("/srv/{report}.txt"), self.canary().display().to_string(), port]
    }

    /// goldsmith, started with this folder open as descriptor 9.
    fn with_open_folder(&self, command: &Command) -> Command {
        let mut outer = Command::new("sh");
        outer.args(["-c", "exec 9<\"$1\"; shift; exec \"$@\"", "sh"]).arg(self.folder.path());
        outer.arg(command.get_program()).args(command.get_args());
        outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = command.get_current_dir() {
            outer.current_dir(folder);
        }
        outer
    }

    fn is_as_it_was(&self) {
        assert_eq!(fs::read_to_string(self.canary()).unwrap(), "untouched");
        assert_eq!(common::workshop::names(self.folder.path()), ["canary"]);
        let left = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("comm"));
        let left: Vec<_> =
            left.filter(|comm| fs::read_to_string(comm).is_ok_and(|name| name.trim() == "gs-left-behind")).collect();
        assert!(left.is_empty(), "processes of the build run on: {left:?}");
        assert_eq!(mounts(), self.mounts);
        assert_eq!(groups(), self.groups);
        self.listener.set_nonblocking(true).unwrap();
        assert!(self.listener.accept().is_err(), "somebody came out");
    }
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap()
}

/// Control groups that goldsmith made.
fn groups() -> Vec<PathBuf> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let below = hierarchies.chain(["/sys/fs/cgroup".into()]).filter_map(|path| fs::read_dir(path).ok());
    let names = below.flatten().flatten().map(|entry| entry.path());
    names.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("goldsmith-"))).collect()
}

/// `escape.c`, which runs in any tree.
fn program() -> Vec<u8> {
    need("cc", "apt-get install gcc libc6-dev");
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/escape/escape.c");
    succeed(Command::new("cc").args(["-static", "-O1", "-w", "-o"]).arg(folder.path().join("escape")).arg(source));
    fs::read(folder.path().join("escape")).unwrap()
}

/// The packages of the minimal image and four that mean harm, signed, on a mirror of the test's own.
fn publish(mirror: &Mirror, key: &Key, host: &Host) {
    common::image("minimal");
    let lock = Lock::read(&recipes().join("recipes/minimal.lock")).unwrap().unwrap();
    let packages = debian::fetch(&lock, &Store::at(&cache()).unwrap(), true, &Silent).unwrap();
    let mut index = String::new();
    let mut files = Vec::new();
    for fetched in &packages {
        let control = Deb::open(&fetched.file).unwrap().control().unwrap();
        let control = String::from_utf8(control["control"].1.clone()).unwrap();
        let (package, path) =
            (&fetched.package, format!("pool/{}_{}.deb", fetched.package.name, fetched.package.architecture));
        index +=
            &format!("{}\nFilename: {path}\nSize: {}\nSHA256: {}\n\n", control.trim(), package.size, package.sha256);
        files.push((path, fs::read(&fetched.file).unwrap()));
    }
    let script = |stage: &str| format!("#!/bin/sh\nexec {}\n", host.call(stage).join(" "));
    let tool = Package::new("escape-tool").file("./usr/bin/escape", &program()).finish();
    let early =
        Package::with("escape-early", "Pre-Depends: escape-tool\n").control("./preinst", &script("preinst")).finish();
    let late =
        Package::with("escape-late", "Depends: escape-tool\n").control("./postinst", &script("postinst")).finish();
    let postinst = format!("#!/bin/sh\n[ \"$1\" = triggered ] || exit 0\nexec {}\n", host.call("trigger").join(" "));
    let trigger = Package::with("escape-trigger", "Depends: escape-tool\n")
        .control("./postinst", &postinst)
        .control("./triggers", "interest escape-pulled\n")
        .finish();
    let pull = Package::with("escape-pull", "Depends: escape-trigger\n")
        .control("./postinst", "#!/bin/sh\nexec dpkg-trigger escape-pulled\n")
        .finish();
    for (name, fields, bytes) in [
        ("escape-tool", "", tool),
        ("escape-early", "Pre-Depends: escape-tool\n", early),
        ("escape-late", "Depends: escape-tool\n", late),
        ("escape-trigger", "Depends: escape-tool\n", trigger),
        ("escape-pull", "Depends: escape-trigger\n", pull),
    ] {
        index += &stanza(name, "1.0", fields, &bytes);
        files.push((format!("pool/{name}.deb"), bytes));
    }
    let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
    archive::publish(mirror, key, "hostile", &index, &files, FRESH);
}

fn recipe(mirror: &Mirror, keyring: &Path, host: &Host) -> String {
    let base = fs::read_to_string(recipes().join("recipes/base.yaml")).unwrap();
    let (head, rest) = base.split_once("distribution:").unwrap();
    let (_, rest) = rest.split_once("architecture:").unwrap();
    let url = mirror.url();
    let keyring = keyring.display();
    // The archive has the kernel that the lock names, not the package that always points at the newest.
    let lock = Lock::read(&recipes().join("recipes/minimal.lock")).unwrap().unwrap();
    let kernel = lock.packages.iter().find(|package| package.name.starts_with("linux-image-")).unwrap();
    let steps = serde_json::to_string(&[host.call("run")]).unwrap();
    format!(
        "{head}name: hostile\ndistribution: {{ name: debian, suite: hostile, mirror: '{url}/debian', keyring: '{keyring}' }}\narchitecture:{rest}run: {steps}\n"
    )
    .replace("packages: [", "packages: [escape-early, escape-late, escape-pull, ")
    .replace("size: 2G", "size: 1G")
    .replace("package: linux-image-cloud-amd64", &format!("package: {}", kernel.name))
}

/// Every attempt was made, at every stage, and none went through.
fn contained(image: &Path) {
    let view = View::open_path(&image.join("rootfs.ext4")).unwrap();
    for stage in STAGES {
        let path = format!("/srv/{stage}.txt").parse().unwrap();
        let report = view.read(&path, 1 << 20).unwrap().unwrap_or_else(|| panic!("nothing was tried by {stage}"));
        let report = String::from_utf8(report).unwrap();
        let escaped: Vec<_> = report.lines().filter(|line| line.starts_with("ESCAPED")).collect();
        assert_eq!(escaped, [""; 0], "{stage}");
        assert!(report.ends_with("all tried\n"), "{stage}: {report}");
        let attempts = report.lines().filter(|line| line.starts_with("contained")).count();
        assert!(attempts > 150, "{stage}: only {attempts} attempts");
    }
}

#[test]
fn nothing_gets_out_of_a_build_as_root() {
    if !is_root("building as root") {
        return;
    }
    let (mirror, key, host) = (Mirror::start(), Key::new(), Host::new());
    publish(&mirror, &key, &host);
    let workshop = Workshop::new();
    workshop.write("recipes/hostile.yaml", recipe(&mirror, &key.keyring(), &host));
    workshop.run(&["lock", "recipes/hostile.yaml"]).succeeded();
    let build = workshop.goldsmith(&["build", "recipes/hostile.yaml", "--locked"]);
    Run::from(host.with_open_folder(&build).output().unwrap()).succeeded();
    contained(&workshop.path("images/hostile"));
    host.is_as_it_was();
    // A set-user-id file that a step made would be anybody's way to root, were it root's on this disk.
    for entry in walkdir::WalkDir::new(workshop.cache("layers")).into_iter().flatten() {
        let status = entry.metadata().unwrap();
        let inside =
            entry.path().components().any(|part| part.as_os_str() == "root") && !entry.path().ends_with("root");
        let unpacked = entry.path().components().any(|part| part.as_os_str() == "unpacked");
        assert!(!inside || unpacked || status.uid() != 0, "{} is root's", entry.path().display());
    }
}

#[test]
fn nothing_gets_out_of_an_ordinary_users_build() {
    if !is_root("making an ordinary user to build as") {
        return;
    }
    let (mirror, key, host, user) = (Mirror::start(), Key::new(), Host::new(), User::new());
    publish(&mirror, &key, &host);
    user.furnish(&Lock::read(&recipes().join("recipes/minimal.lock")).unwrap().unwrap());
    user.copy(&key.keyring(), "archive.gpg");
    fs::write(user.home().join("recipes/hostile.yaml"), recipe(&mirror, &user.home().join("archive.gpg"), &host))
        .unwrap();
    user.own();
    succeed(Command::new("chown").arg(&user.name).arg(host.canary()));
    let build = user.goldsmith(&["build", "recipes/hostile.yaml"]);
    Run::from(host.with_open_folder(&build).output().unwrap()).succeeded();
    contained(&user.home().join("images/hostile"));
    host.is_as_it_was();
    succeed(&mut user.goldsmith(&["clean"]));
}

#[test]
fn a_step_that_takes_too_much_is_ended() {
    let workshop = Workshop::furnished();
    let steps = [
        // One endless line.
        ("flood", r#"["sh", "-c", "yes | tr -d '\\n'"]"#, "--step-timeout=3s", "it ran for more than 3 seconds"),
        (
            "memory",
            r#"["perl", "-e", "push @a, 'x' x 1e6 while 1"]"#,
            "--step-memory=200M",
            "it took more than 200M of memory",
        ),
        (
            "shared",
            r#"["sh", "-c", "cat /dev/zero >/dev/shm/x; cat /dev/zero >/tmp/x; exit 3"]"#,
            "--step-memory=200M",
            "200M",
        ),
        ("forks", r#"["perl", "-e", "while (1) { fork }"]"#, "--step-timeout=4s", "was ended"),
    ];
    for (name, step, limit, words) in steps {
        workshop.write(
            &format!("recipes/{name}.yaml"),
            format!("schema: goldsmith/v1\nname: {name}\ninclude: [minimal.yaml]\nrun: [{step}]\n"),
        );
        fs::copy(workshop.path("recipes/minimal.lock"), workshop.path(&format!("recipes/{name}.lock"))).unwrap();
        let run = workshop.run(&["build", &format!("recipes/{name}.yaml"), "--offline", limit]);
        if name == "shared" {
            // The mounts are bounded, and what fills them is memory: either end is an end.
            assert_eq!(run.status, Some(1), "{run:#?}");
        } else {
            run.failed(1, &[words]);
        }
        assert!(run.stderr.len() < 100_000, "{name} said {} bytes", run.stderr.len());
    }
    let logs = ["flood.failed.log", "forks.failed.log", "memory.failed.log", "shared.failed.log"];
    assert_eq!(workshop.names("images"), logs);
}
