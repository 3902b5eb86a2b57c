//! `goldsmith shell`: a person is where steps are, talks with what runs there, and leaves nothing behind.

mod common;

use common::made::{Made, script};
use common::package::Package;
use common::processes::{adopt_orphans, descendants};
use common::user::User;
use common::workshop::{Run, Workshop};
use common::{is_root, need, recipes};
use goldsmith::debian::Lock;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a tree may take to be made, and the kernel to end what was killed.
const PATIENCE: Duration = Duration::from_secs(120);

/// All that a step sees of where it is, but for its streams and its own number.
const LOOK: &str = "\
id; umask; ulimit -a; pwd; hostname; env | grep -v -e '^_=' -e SHLVL | sort; \
ls -l /dev /dev/shm | tr -s ' ' | cut -d' ' -f1,3-6,10-; \
cat /proc/net/dev /proc/self/limits /proc/self/uid_map; cut -d' ' -f2- /proc/mounts; \
grep -e Cap -e Seccomp -e NoNewPrivs -e Sig /proc/self/status; \
echo >/proc/sys/kernel/hostname; unshare --net true; head -c 3 </proc/kcore; exit 0";

/// The place that is made soonest: the essential packages are unpacked, and no script has run.
const EARLY: &str = "--before=base-passwd:preinst";

/// A workshop with layers of all tests, whose recipe `made` has three commands.
fn three_steps() -> Workshop {
    let workshop = Workshop::furnished();
    let look = serde_json::to_string(&format!("exec >/srv/one 2>&1; {LOOK}")).unwrap();
    let text = format!(
        "schema: goldsmith/v1\nname: made\ninclude: [minimal.yaml]\n\
         run:\n  - [bash, -c, {look}]\n  - [sh, -c, \"echo two >/srv/two\"]\n  - [\"false\"]\n"
    );
    workshop.write("recipes/made.yaml", text);
    fs::copy(workshop.path("recipes/minimal.lock"), workshop.path("recipes/made.lock")).unwrap();
    workshop
}

/// Runs goldsmith with something to read.
fn ask(mut command: Command, words: &str) -> Run {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

fn shell(workshop: &Workshop, arguments: &[&str]) -> Command {
    let all: Vec<_> = ["shell", "recipes/made.yaml", "--offline"].iter().chain(arguments).copied().collect();
    workshop.goldsmith(&all)
}

/// Nothing of a tree is in the cache.
#[track_caller]
fn is_tidy(workshop: &Workshop) {
    assert_eq!(workshop.names("cache/v1/scratch"), [""; 0]);
}

#[test]
fn a_shell_sees_what_a_step_sees() {
    let workshop = three_steps();
    let lock = fs::read(workshop.path("recipes/made.lock")).unwrap();
    let words = format!(
        "bash -c {} >/tmp/now 2>&1; diff /srv/one /tmp/now && echo same; ls /srv; tty; echo to the error >&2; exit 3\n",
        format_args!("'{}'", LOOK.replace('\'', r"'\''")),
    );
    // Where the second step would run, and as the one that would fail says.
    let run = ask(shell(&workshop, &["--before=run:2"]), &words);
    assert_eq!((run.stdout.as_str(), run.status), ("same\none\nnot a tty\n", Some(3)), "{run:#?}");
    let greeting = "the tree of made before run:2; what you change here is thrown away, `exit` leaves\nto the error\n";
    run.failed(3, &[greeting]);
    is_tidy(&workshop);

    // A lock is not written: not even where there is none.
    fs::remove_file(workshop.path("recipes/made.lock")).unwrap();
    ask(shell(&workshop, &["--locked"]), "").failed(1, &["made.lock is missing, and --locked forbids"]);
    ask(shell(&workshop, &[]), "").failed(1, &["made.lock is missing) needs the network, and --offline forbids it"]);
    fs::write(workshop.path("recipes/made.lock"), &lock).unwrap();

    // One that fails on the way is an error as in a build; what was typed for a command comes from there.
    let quiet = ["--quiet", "--after=run", "--", "true"];
    ask(shell(&workshop, &quiet), "").failed(1, &["error: run: step 3 (`false`) failed with exit status 1\n"]);
    is_tidy(&workshop);
    assert_eq!(fs::read(workshop.path("recipes/made.lock")).unwrap(), lock);
    assert_eq!(workshop.names("images"), [""; 0]);
}

#[test]
fn a_step_that_does_not_exist_is_told_with_those_that_do() {
    let workshop = three_steps();
    for (step, said) in [
        ("iprout2", "error: there is no step `iprout2`; did you mean `iproute2`?\n"),
        ("overlay", "did you mean `overlays`?\nhelp: steps are NAME and NAME:preinst for each of the "),
        ("run:4", "packages, users, overlays, artifacts, network, units, run; run:1 to run:3\n"),
        ("run:0", "did you mean `run:1`?"),
        ("packages", "there is nothing before the packages\nhelp: name one of them, as in --before "),
    ] {
        ask(shell(&workshop, &["--before", step]), "").failed(2, &[said]);
    }
    ask(shell(&workshop, &["--before=run", "--after=run"]), "").failed(2, &["cannot be used with"]);
    is_tidy(&workshop);
}

#[test]
fn a_package_is_looked_at_before_and_after_its_scripts() {
    let made = Made::new(&["dpkg"]);
    let packages = || {
        let below = Package::new("below").control("./postinst", &script("echo below >/srv/below"));
        let looked = Package::with("looked", "Depends: below\nPre-Depends: dpkg\n")
            .file("./srv/file", b"shipped\n")
            .control("./preinst", &script("echo preinst >/srv/preinst"))
            .control("./postinst", &script("env | sort >/srv/env"));
        // What is set up as soon as it may be, and has no script.
        let above = Package::with("above", "Depends: looked\n");
        vec![("below", below), ("looked", looked), ("above", above)]
    };
    made.with(packages());
    let state = "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' above below looked 2>/dev/null; ls /srv\n";

    let run = ask(
        shell(&made.workshop, &["--before=looked:preinst"]),
        &format!("{state}. /var/lib/dpkg/tmp.ci/preinst; ls /srv"),
    );
    assert_eq!((run.stdout.as_str(), run.status), ("preinst\n", Some(0)), "{run:#?}");
    run.failed(0, &["the tree of made before looked's preinst; "]);

    // The script itself stands where dpkg has it, and can be run; dpkg can be told to go on.
    let words = format!(
        "{state}env | sort; echo end\n/var/lib/dpkg/info/looked.postinst configure; ls /srv\n\
         dpkg --configure --pending >/dev/null 2>&1; {state}"
    );
    let run = ask(shell(&made.workshop, &["--before=looked"]), &words);
    let (first, rest) = run.stdout.split_once("DEBCONF").unwrap();
    let (environment, rest) = rest.split_once("end\n").unwrap();
    assert_eq!(first, "above unpacked\nbelow installed\nlooked half-configured\nbelow\nfile\npreinst\n");
    assert!(rest.starts_with("below\nenv\nfile\npreinst\n"), "{run:#?}");
    assert!(rest.ends_with("above installed\nbelow installed\nlooked installed\nbelow\nenv\nfile\npreinst\n"));

    // What dpkg sets for it, here and there.
    let own = |text: &str| text.lines().filter(|line| line.starts_with("DPKG_")).map(str::to_owned).collect::<Vec<_>>();
    let words = format!("{state}cat /srv/env");
    let run = ask(shell(&made.workshop, &["--after=looked"]), &words);
    let after = "above unpacked\nbelow installed\nlooked installed\nbelow\nenv\nfile\npreinst\n";
    assert!(run.stdout.starts_with(after), "{run:#?}");
    assert_eq!(own(environment), own(&run.stdout));
    assert!(own(environment).len() >= 8, "{environment}");
    let run = ask(shell(&made.workshop, &["--after=below", "--", "sh", "-c", state]), "");
    let after = "above unpacked\nbelow installed\nlooked unpacked\nbelow\nfile\npreinst\n";
    assert_eq!((run.stdout.as_str(), run.status), (after, Some(0)), "{run:#?}");
    is_tidy(&made.workshop);
}

#[test]
fn a_command_ends_as_it_does_elsewhere() {
    let workshop = three_steps();
    let place = ["--quiet", EARLY, "--"];
    let run = |command: &[&str]| ask(shell(&workshop, &[&place[..], command].concat()), "a\nb\n");
    let many = "sort -r; kill -9 $$";
    let killed = run(&["sh", "-c", many]);
    assert_eq!((killed.stdout.as_str(), killed.stderr.as_str(), killed.status), ("b\na\n", "", Some(137)));
    run(&["no-such-program"]).failed(127, &["cannot start no-such-program: No such file"]);
    is_tidy(&workshop);
}

/// A terminal of the test's own with a shell in it.
struct Screen {
    terminal: File,
    shown: Arc<Mutex<String>>,
    child: Child,
}

impl Screen {
    fn open(workshop: &Workshop, arguments: &[&str]) -> Self {
        need("setsid", "apt-get install util-linux");
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let theirs = File::from(ioctl_tiocgptpeer(&terminal, flags).unwrap());
        let goldsmith = shell(workshop, arguments);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(goldsmith.get_program()).args(goldsmith.get_args()).env("TERM", "vt220");
        command.envs(goldsmith.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(workshop.path("")).stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap());
        let screen = Self {
            terminal: File::from(terminal),
            shown: Arc::default(),
            child: command.stderr(theirs).spawn().unwrap(),
        };
        screen.size(31, 97);
        let (mut terminal, shown) = (screen.terminal.try_clone().unwrap(), Arc::clone(&screen.shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = terminal.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        screen
    }

    fn size(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.terminal, size).unwrap();
    }

    /// Whether Ctrl-C is a character here, as any other.
    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_modes.intersects(LocalModes::ISIG | LocalModes::ICANON)
    }

    /// Types, once it has shown something; what was shown before is forgotten.
    #[track_caller]
    fn type_at(&mut self, shown: &str, keys: &str) {
        let started = Instant::now();
        loop {
            let mut text = self.shown.lock().unwrap();
            if let Some(at) = text.find(shown) {
                text.drain(..at + shown.len());
                break;
            }
            assert!(started.elapsed() < PATIENCE && self.child.try_wait().unwrap().is_none(), "no {shown:?} in {text}");
            drop(text);
            std::thread::sleep(Duration::from_millis(10));
        }
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    fn end(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "{}", self.shown.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn on_a_terminal_it_has_one_of_its_own() {
    let workshop = three_steps();
    let mut screen = Screen::open(&workshop, &[EARLY]);
    screen.type_at("`exit` leaves", "PS1='re''ady> '\n");
    screen.type_at("ready> ", "tty; stty size; echo $TERM; sleep 1000; echo s''lept\n");
    screen.type_at("/dev/pts/0\r\n31 97\r\nvt220\r\n", "");
    assert!(screen.is_raw());
    std::thread::sleep(Duration::from_millis(500));
    screen.type_at("", "\u{3}");
    // bash forgets the rest of the line.
    screen.type_at("ready> ", "echo st''atus $?\n");
    screen.type_at("status 130", "");
    screen.type_at("ready> ", "sh -c \"trap 'stty size' WINCH; echo be''gin; while sleep 0.1; do :; done\"\n");
    screen.type_at("begin", "");
    screen.size(40, 132);
    screen.type_at("40 132", "\u{3}");
    // Nobody in here has a descriptor of a terminal outside, and typing into one's own is refused.
    screen.type_at("ready> ", "ls -l /proc/[0-9]*/fd | grep -o -e '/dev/pts/.*' -e '/dev/tty.*' | sort -u; exit 7\n");
    screen.type_at("/dev/pts/0\r\nexit", "");
    assert_eq!(screen.end(), Some(7));
    assert!(!screen.is_raw());
    is_tidy(&workshop);

    // A command that is no shell is interrupted too; goldsmith, when it is ended from outside, gives the terminal back.
    let mut screen =
        Screen::open(&workshop, &[EARLY, "--", "sh", "-c", "trap 'echo caught' INT; echo begin; sleep 1000; cat"]);
    screen.type_at("begin", "");
    assert!(screen.is_raw());
    std::thread::sleep(Duration::from_millis(500));
    screen.type_at("", "\u{3}");
    screen.type_at("caught", "");
    kill_process(Pid::from_child(&screen.child), Signal::TERM).unwrap();
    assert_eq!(screen.end(), Some(143));
    assert!(!screen.is_raw());
    is_tidy(&workshop);
}

#[test]
fn killed_it_leaves_no_process_and_the_next_command_takes_its_tree() {
    adopt_orphans();
    let workshop = three_steps();
    let mut command = shell(&workshop, &[EARLY, "--", "sh", "-c", "sleep 4321 & echo begin; sleep 4321"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut begin = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut begin).unwrap();
    let family = descendants(child.id());
    assert!(family.iter().filter(|process| process.line.contains("sleep 4321")).count() >= 2, "{family:?}");
    assert_eq!(workshop.names("cache/v1/scratch").len(), 1);
    // Another command meanwhile lets it be.
    ask(shell(&workshop, &["--before=none-such"]), "").failed(2, &[]);
    assert_eq!(workshop.names("cache/v1/scratch").len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let started = Instant::now();
    while family.iter().any(common::processes::Process::lives) {
        assert!(started.elapsed() < Duration::from_secs(10), "{family:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    ask(shell(&workshop, &["--before=none-such"]), "").failed(2, &[]);
    is_tidy(&workshop);
}

#[test]
fn an_ordinary_user_looks_around_too() {
    if !is_root("making an ordinary user to look around as") {
        return;
    }
    drop(Workshop::furnished());
    let user = User::new();
    user.furnish(&Lock::read(&recipes().join("recipes/minimal.lock")).unwrap().unwrap());
    let command = user.goldsmith(&["shell", "recipes/minimal.yaml", "--offline", EARLY]);
    let run = ask(command, "id; cat /proc/self/uid_map | wc -l; stat -c %u /etc /usr; exit 4");
    assert_eq!((run.stdout.as_str(), run.status), ("uid=0 gid=0 groups=0\n1\n0\n0\n", Some(4)), "{run:#?}");
    assert!(!user.home().join("cache/v1/scratch").exists());
}
