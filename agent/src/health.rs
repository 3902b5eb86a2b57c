//! The health document: every check asked at once, and the facts of this boot.

use crate::check::Check;
use crate::cmdline;
use crate::json::Json;
use crate::network::Network;
use crate::options::Serve;
use std::thread;

/// The health of this guest at one moment.
#[derive(Debug, Clone)]
pub struct Health {
    /// Nothing failed.
    pub ok: bool,
    /// The JSON document.
    pub document: String,
}

/// A check's name with its verdict.
type Verdict = (String, Result<String, String>);

impl Health {
    /// Asks everything; takes about as long as the slowest check.
    pub fn look(serve: &Serve) -> Self {
        let network = Network::look(&serve.interface);
        let mut verdicts =
            vec![("network".to_owned(), network.as_ref().map_err(Clone::clone).and_then(Network::verdict))];
        verdicts.extend(ask_all(&serve.checks));
        let ok = verdicts.iter().all(|(_, verdict)| verdict.is_ok());
        let failed = verdicts.iter().filter(|(_, verdict)| verdict.is_err()).map(|(name, _)| name.as_str());
        let document = Json::Object(vec![
            ("status", if ok { "ok" } else { "failed" }.into()),
            ("failed", Json::strings(failed)),
            ("checks", Json::Array(verdicts.iter().map(verdict_json).collect())),
            ("network", network.as_ref().map_or(Json::Null, Network::json)),
            ("parameters", parameters(&serve.parameters)),
            ("boot_id", Json::option(first_word("/proc/sys/kernel/random/boot_id"))),
            ("uptime_seconds", uptime().map_or(Json::Null, Json::Number)),
            ("version", env!("CARGO_PKG_VERSION").into()),
        ]);
        Self { ok, document: document.document() }
    }
}

/// Prints the document once; an error names what failed.
pub fn print(serve: &Serve) -> Result<(), String> {
    let health = Health::look(serve);
    print!("{}", health.document);
    if health.ok { Ok(()) } else { Err("not everything is up".into()) }
}

/// Asks every check in a thread of its own; the verdicts keep the order.
fn ask_all(checks: &[(String, Check)]) -> Vec<Verdict> {
    thread::scope(|scope| {
        let asked: Vec<_> = checks
            .iter()
            .map(|(name, check)| (name, check, thread::Builder::new().spawn_scoped(scope, || check.ask())))
            .collect();
        let verdict = |check: &Check, thread: std::io::Result<thread::ScopedJoinHandle<'_, _>>| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err("the check itself failed".into())),
            Err(_) => check.ask(), // no thread to be had: ask here
        };
        asked.into_iter().map(|(name, check, thread)| (name.clone(), verdict(check, thread))).collect()
    })
}

fn verdict_json((name, verdict): &Verdict) -> Json {
    let (ok, detail) = match verdict {
        Ok(detail) => (true, detail),
        Err(reason) => (false, reason),
    };
    Json::Object(vec![("name", name.as_str().into()), ("ok", Json::Bool(ok)), ("detail", detail.as_str().into())])
}

/// The declared boot parameters, null where the command line has none.
fn parameters(names: &[String]) -> Json {
    let line = std::fs::read("/proc/cmdline").unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    Json::Map(names.iter().map(|name| (name.clone(), Json::option(cmdline::value(&line, name)))).collect())
}

fn uptime() -> Option<u64> {
    first_word("/proc/uptime")?.split('.').next()?.parse().ok()
}

fn first_word(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()?.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(checks: &[(&str, Check)]) -> Serve {
        let checks = checks.iter().map(|(name, check)| ((*name).to_owned(), check.clone())).collect();
        Serve { interface: "lo".into(), checks, parameters: vec!["decodo_port".into()], ..Serve::default() }
    }

    #[test]
    fn a_guest_with_an_address_and_nothing_else_to_watch_is_well() {
        let health = Health::look(&serve(&[]));
        assert!(health.ok, "{}", health.document);
        assert!(health.document.contains("\"status\":\"ok\",\"failed\":[]"), "{}", health.document);
        assert!(health.document.contains("\"parameters\":{\"decodo_port\":null}"), "{}", health.document);
    }

    #[test]
    fn what_failed_is_named_in_the_order_of_the_checks() {
        let health = Health::look(&serve(&[("screen", Check::X11(64_998)), ("manager", Check::WindowManager(64_998))]));
        assert!(!health.ok);
        assert!(health.document.contains("\"failed\":[\"screen\",\"manager\"]"), "{}", health.document);
    }

    #[test]
    fn a_missing_interface_fails_the_network() {
        let health = Health::look(&Serve { interface: "nonesuch0".into(), ..Serve::default() });
        assert!(health.document.contains("\"failed\":[\"network\"]"), "{}", health.document);
        assert!(health.document.contains("there is no interface nonesuch0"), "{}", health.document);
    }
}
