//! `dpkg --configure`, with the compiling of Python modules beside it.
//!
//! Maintainer scripts run one after the other. The longest of their work is `py3compile`, which the scripts that dh_python3
//! writes call, and whose result no script reads. Those calls stand in the scripts word for word, so they are made ahead:
//! on all cores, from the moment when Python itself has been compiled. A script that comes to its own call finds it taken
//! care of. What is still in the queue when dpkg is done is waited for, and a failure there is a failure of the whole.

use super::step::Subject;
use super::stop::HELD;
use super::{Build, Halt, Package};
use std::collections::BTreeSet;

/// It stops at the first failure: nothing comes after the last words of the culprit. Descriptor 3 is its output too, for the
/// lines that it writes for programs.
const DPKG: [&str; 8] = [
    "dpkg",
    "--status-fd",
    "3",
    "--abort-after=1",
    "--force-unsafe-io",
    "--force-confdef",
    "--force-confold",
    "--configure",
];

/// Runs dpkg's command alone.
const ALONE: &str = r#"exec "$@" 3>&1"#;

/// The same where dpkg will be killed ([`super::stop`]): as process 1 it could not be.
const HOLDING: &str = r#""$@" 3>&1 || exit"#;

/// The compiler that scripts call by name.
const COMPILER: &str = "usr/bin/py3compile";

/// The package whose script compiles what the compiler itself is made of.
const PYTHON: &str = "python3-minimal";

/// `$1` is the calls that are known, a line each, `$2` is `begun` when Python has been set up before, `$3` is a file whose
/// absence means that dpkg was killed for good reason ([`super::stop`]); the rest is dpkg's command. Scripts find a `py3compile` before the real one.
/// Its first call, python3-minimal's, is made at once (what that imports it compiles for all) and starts the queue. Lines
/// are short enough to be written in one piece (pipe(7), `PIPE_BUF`). A script that cleans before it compiles (python3's runs
/// every package's `rtupdate`) may delete what the queue has made: such a package's calls are made again. What the queue says is said at its end, in the words
/// of dpkg's own lines ([`super::step`]). Nothing of this is in the tree: `/run` is the sandbox's own.
const QUEUED: &str = r#"
set -u
queue=/run/goldsmith
mkdir "$queue" "$queue/bin"
mkfifo "$queue/calls"
echo "$1" >"$queue/known"
begun=$2
held=$3
shift 3
cat >"$queue/bin/py3compile" <<'END'
#!/bin/sh
queue=/run/goldsmith
case "$*" in
    "-p python3-minimal"*)
        PYTHONDONTWRITEBYTECODE= /usr/bin/py3compile "$@" && : >"$queue/begun" && cat "$queue/known" >>"$queue/calls"
        ;;
    *[!A-Za-z0-9\ ._:/+-]*) exec /usr/bin/py3compile "$@" ;;
    *)
        grep -qxF -e "$*" "$queue/known" && ! grep -qxF -e "${2-}" "$queue/cleaned" || echo "$*" >>"$queue/calls"
        ;;
esac
END
cat >"$queue/bin/py3clean" <<'END'
#!/bin/sh
[ "${1-}" != -p ] || echo "${2-}" >>/run/goldsmith/cleaned
exec /usr/bin/py3clean "$@"
END
: >"$queue/cleaned"
cat >"$queue/compile" <<'END'
#!/bin/sh
/usr/bin/py3compile "$@" && exit
status=$?
echo "status: ${2-python3} : error : py3compile failed with exit status $status"
exit 1
END
chmod 755 "$queue/bin/py3compile" "$queue/bin/py3clean" "$queue/compile"
nice xargs -r -P "$(nproc)" -L 1 "$queue/compile" <"$queue/calls" >"$queue/said" 2>&1 &
worker=$!
# Open both ways, so that no call ever waits for a reader.
exec 3<>"$queue/calls"
if [ -n "$begun" ]; then
    : >"$queue/begun"
    cat "$queue/known" >&3
fi
PATH=$queue/bin:$PATH "$@" 3>&1 || { [ -n "$held" ] && [ ! -e "$held" ]; } || exit
[ -e "$queue/begun" ] || cat "$queue/known" >&3
exec 3>&-
echo "processing: py3compile: python3"
wait "$worker"
status=$?
cat "$queue/said"
exit "$status"
"#;

impl Build<'_> {
    /// Runs the `postinst` of every unpacked package, as dpkg orders them.
    pub(super) fn configure(&mut self) -> Result<(), Halt> {
        let rest = self.unpacked.difference(&self.configured).copied().collect();
        self.dpkg(&rest, &["-a"])
    }

    /// The same for some of them, which need no others.
    pub(super) fn configure_only(&mut self, packages: &BTreeSet<usize>) -> Result<(), Halt> {
        if packages.is_empty() {
            return Ok(());
        }
        let names: Vec<_> =
            packages.iter().filter_map(|at| self.packages.get(*at)).map(|p| p.name().to_owned()).collect();
        self.dpkg(packages, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn dpkg(&mut self, packages: &BTreeSet<usize>, names: &[&str]) -> Result<(), Halt> {
        let sandbox = self.sandbox();
        let subject = Subject::new("setting up", "the packages", "dpkg --configure");
        let held = self.held(packages);
        held.map(|package| self.hold(package)).transpose()?;
        let dpkg = DPKG.into_iter().chain(names.iter().copied());
        let result = if self.root.has(COMPILER) {
            let calls = packages.iter().filter_map(|at| self.packages.get(*at)).flat_map(compilations);
            let calls = calls.collect::<Vec<_>>().join("\n");
            let begun = self.configured.iter().filter_map(|at| self.packages.get(*at)).any(|p| p.name() == PYTHON);
            let begun = if begun { "begun" } else { "" };
            let held = held.map_or(String::new(), |_| format!("/{HELD}"));
            let command: Vec<_> = ["sh", "-c", QUEUED, "sh", &calls, begun, &held].into_iter().chain(dpkg).collect();
            // An import must not leave what the queue writes later: the two differ (py_compile, `invalidation_mode`).
            self.watch.run(&sandbox.with("PYTHONDONTWRITEBYTECODE", "1"), &command, subject)
        } else {
            let script = if held.is_some() { HOLDING } else { ALONE };
            let command: Vec<_> = ["sh", "-c", script, "sh"].into_iter().chain(dpkg).collect();
            self.watch.run(&sandbox, &command, subject)
        };
        if let Some(package) = held
            && self.is_reached()
        {
            self.reach(package).map_err(|error| self.explained(error))?;
            return Err(Halt::Reached);
        }
        result.map_err(|error| self.explained(error))?;
        self.configured.extend(packages);
        Ok(())
    }
}

/// The arguments of the calls of `py3compile` that stand in a package's `postinst`, one space between them.
fn compilations(package: &Package) -> Vec<String> {
    let plain = |call: &String| call.chars().all(|c| c.is_ascii_alphanumeric() || " ._:/+-".contains(c));
    let script = package.text("postinst").unwrap_or_default();
    let calls = script.lines().filter_map(|line| line.trim().strip_prefix("py3compile "));
    let calls = calls.map(|call| call.split_whitespace().collect::<Vec<_>>().join(" "));
    calls.filter(plain).filter(|call| !call.starts_with("-p python3-minimal")).collect()
}
