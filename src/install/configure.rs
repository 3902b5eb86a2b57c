//! `dpkg --configure`, with the compiling of Python modules beside it.
//!
//! Maintainer scripts run one after the other. The longest of their work is `py3compile`, which the scripts that dh_python3
//! writes call, and whose result no script reads. Those calls stand in the scripts word for word, so they are made ahead:
//! on all cores, from the moment when Python itself has been compiled. A script that comes to its own call finds it taken
//! care of. What is still in the queue when dpkg is done is waited for, and a failure there is a failure of the whole.

use super::{Build, Error, Package};
use crate::sandbox::{self, Sandbox};

const DPKG: [&str; 6] = ["dpkg", "--force-unsafe-io", "--force-confdef", "--force-confold", "--configure", "-a"];

/// The compiler that scripts call by name.
const COMPILER: &str = "usr/bin/py3compile";

/// `$1` is the calls that are known, a line each; the rest is dpkg's command. Scripts find a `py3compile` before the real one.
/// Its first call, python3-minimal's, is made at once (what that imports it compiles for all) and starts the queue. Lines
/// are short enough to be written in one piece (pipe(7), `PIPE_BUF`). Nothing of this is in the tree: `/run` is the
/// sandbox's own.
const QUEUED: &str = r#"
set -u
queue=/run/goldsmith
mkdir "$queue" "$queue/bin"
mkfifo "$queue/calls"
echo "$1" >"$queue/known"
shift
cat >"$queue/bin/py3compile" <<'END'
#!/bin/sh
queue=/run/goldsmith
case "$*" in
    "-p python3-minimal"*)
        PYTHONDONTWRITEBYTECODE= /usr/bin/py3compile "$@" && : >"$queue/begun" && cat "$queue/known" >>"$queue/calls"
        ;;
    *[!A-Za-z0-9\ ._:/+-]*) exec /usr/bin/py3compile "$@" ;;
    *) grep -qxF -e "$*" "$queue/known" || echo "$*" >>"$queue/calls" ;;
esac
END
chmod 755 "$queue/bin/py3compile"
nice xargs -r -P "$(nproc)" -L 1 /usr/bin/py3compile <"$queue/calls" &
worker=$!
# Open both ways, so that no call ever waits for a reader.
exec 3<>"$queue/calls"
PATH=$queue/bin:$PATH "$@" 3>&-
status=$?
[ -e "$queue/begun" ] || cat "$queue/known" >&3
exec 3>&-
wait "$worker" || exit 1
exit "$status"
"#;

impl Build<'_> {
    /// Runs the `postinst` of every unpacked package, as dpkg orders them.
    pub(super) fn configure(&self) -> Result<(), Error> {
        let sandbox = Sandbox::new(&self.root.path, self.lock.epoch, self.limits);
        let result = if self.root.has(COMPILER) {
            let calls: Vec<_> = self.packages.iter().flat_map(compilations).collect();
            let calls = calls.join("\n");
            let command: Vec<_> = ["sh", "-c", QUEUED, "sh", calls.as_str()].into_iter().chain(DPKG).collect();
            // An import must not leave what the queue writes later: the two differ (py_compile, `invalidation_mode`).
            sandbox.with("PYTHONDONTWRITEBYTECODE", "1").run(&command, self.observer)
        } else {
            sandbox.run(&DPKG, self.observer)
        };
        result.map_err(|cause| Error::Script { what: blamed(&cause), cause })
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

/// The first package that dpkg's own messages name.
fn blamed(error: &sandbox::Error) -> String {
    let sandbox::Error::Failed { tail, .. } = error else { return "the packages".to_owned() };
    let name = |line: &String| {
        line.strip_prefix("dpkg: error processing package ")?.split(' ').next().map(|name| format!("{name} (postinst)"))
    };
    tail.iter().find_map(name).unwrap_or_else(|| "the packages".to_owned())
}
