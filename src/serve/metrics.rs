//! What is counted, in Prometheus' text format.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>. Labels are route templates, rules, states and
//! stages, all of them from short lists, so there are few series whatever is asked.

use super::api::State;
use super::fleet::lock;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

/// The media type.
pub const MEDIA: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds in seconds: KVM boots in one, emulation on a busy host in a minute or more.
const STARTS: [f64; 9] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0];
const REQUESTS: [f64; 8] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0];

/// Counters.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counters>);

#[derive(Debug, Default)]
struct Counters {
    requests: BTreeMap<(String, String, u16), u64>,
    answers: Histogram<{ REQUESTS.len() }>,
    starts: Histogram<{ STARTS.len() }>,
    stages: BTreeMap<String, (u64, f64)>,
    refusals: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Histogram<const N: usize> {
    buckets: [u64; N],
    count: u64,
    sum: f64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: [0; N], count: 0, sum: 0.0 }
    }
}

impl<const N: usize> Histogram<N> {
    fn observe(&mut self, bounds: [f64; N], value: f64) {
        for (bucket, _) in self.buckets.iter_mut().zip(bounds).filter(|(_, bound)| value <= *bound) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    fn write(&self, text: &mut String, name: &str, help: &str, bounds: [f64; N]) {
        head(text, name, "histogram", help);
        for (count, bound) in self.buckets.iter().zip(bounds) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let _ =
            writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {0}\n{name}_sum {1}\n{name}_count {0}", self.count, self.sum);
    }
}

impl Metrics {
    /// A request was answered.
    pub fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let mut counters = lock(&self.0);
        *counters.requests.entry((route.to_owned(), method.to_owned(), status)).or_default() += 1;
        counters.answers.observe(REQUESTS, took.as_secs_f64());
    }

    /// A VM became ready so long after its launch began.
    pub fn ready(&self, took: Duration) {
        lock(&self.0).starts.observe(STARTS, took.as_secs_f64());
    }

    /// A stage of a launch took so many milliseconds.
    pub fn stage(&self, name: &str, ms: f64) {
        let mut counters = lock(&self.0);
        let (count, sum) = counters.stages.entry(name.to_owned()).or_default();
        *count += 1;
        *sum += ms / 1e3;
    }

    /// The gate refused because of a rule.
    pub fn refusal(&self, rule: &str) {
        *lock(&self.0).refusals.entry(rule.to_owned()).or_default() += 1;
    }

    /// The page, with the states of the VMs as they are now.
    pub fn page(&self, states: &[State]) -> String {
        let counters = lock(&self.0);
        let mut text = String::new();
        head(&mut text, "goldsmith_vms", "gauge", "VMs by state.");
        for state in State::ALL {
            let count = states.iter().filter(|one| **one == state).count();
            let _ = writeln!(text, "goldsmith_vms{{state=\"{}\"}} {count}", state.word());
        }
        let help = "Seconds from the beginning of a launch until every probe had passed.";
        counters.starts.write(&mut text, "goldsmith_start_duration_seconds", help, STARTS);
        let name = "goldsmith_stage_duration_seconds";
        head(&mut text, name, "summary", "Seconds that the stages of launches took.");
        for (stage, (count, sum)) in &counters.stages {
            let _ = writeln!(text, "{name}_sum{{stage=\"{stage}\"}} {sum}\n{name}_count{{stage=\"{stage}\"}} {count}");
        }
        head(&mut text, "goldsmith_refusals_total", "counter", "Refusals of the gate by rule.");
        for (rule, count) in &counters.refusals {
            let _ = writeln!(text, "goldsmith_refusals_total{{rule=\"{rule}\"}} {count}");
        }
        head(&mut text, "goldsmith_requests_total", "counter", "Requests by route, method and status.");
        for ((route, method, status), count) in &counters.requests {
            let labels = format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"");
            let _ = writeln!(text, "goldsmith_requests_total{{{labels}}} {count}");
        }
        let help = "Seconds until the answer's head was ready.";
        counters.answers.write(&mut text, "goldsmith_request_duration_seconds", help, REQUESTS);
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing into a String does not fail, here and above.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.request("GET", "/vms", 200, Duration::from_millis(3));
        metrics.request("GET", "/vms", 200, Duration::from_millis(30));
        metrics.ready(Duration::from_secs(3));
        metrics.stage("gate", 250.0);
        metrics.refusal("NET-K002");
        insta::assert_snapshot!(metrics.page(&[State::Ready, State::Ready, State::Booting]));
    }
}
