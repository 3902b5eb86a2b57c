//! Every reader of a text by itself; the first byte says which.
#![no_main]

use goldsmith::boot::{KernelArgs, KernelFacts};
use goldsmith::debian::{self, Lock, Relation, Stanza, Templates, compare_versions};
use goldsmith::manifest::{Manifest, Probe};
use goldsmith::network::{Cidr, KernelIp, dracut};
use goldsmith::values::{Answer, ByteSize, Fragment, GuestPath, Name, Sha256, duration, shown, visible};
use goldsmith::yaml;
use libfuzzer_sys::fuzz_target;
use std::fmt::Write as _;

type Reader = fn(&str);

/// New ones go to the end: the corpus knows them by number.
const READERS: &[Reader] = &[
    |text| drop((yaml::parse(text), yaml::parse_repeating(text))),
    |text| drop(Manifest::parse(text.as_bytes()).map(|manifest| manifest.to_canonical_bytes())),
    |text| drop(Lock::parse(text).map(|lock| lock.render("lock".as_ref()))),
    stanzas,
    |text| debian::fuzz::packages(text),
    |text| debian::fuzz::release(text.as_bytes()),
    versions,
    |text| Relation::groups(text).iter().flatten().for_each(|relation| drop((relation.to_string(), relation.accepts("1:2-3")))),
    |text| drop(KernelArgs::parse(&KernelArgs::parse(text).to_string())),
    |text| {
        KernelFacts::from_config(text);
    },
    values,
    |text| goldsmith::serve::fuzz::body(text.as_bytes()),
    |text| drop(serde_json::from_str::<Probe>(text)),
    |text| drop((KernelIp::parse(text), dracut(text))),
    answers,
];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    READERS[usize::from(*choice) % READERS.len()](&text);
});

fn stanzas(text: &str) {
    for stanza in Stanza::all(text) {
        let _ = (stanza.fields().count(), stanza.field("Package"));
    }
}

/// Questions of packages, and answers to them behind the first empty line but one.
fn answers(text: &str) {
    let (questions, answers) = text.split_once("\n\n\n").unwrap_or((text, text));
    let mut templates = Templates::default();
    templates.add("a", questions);
    for answer in Answer::preseed(answers, "file").0 {
        let _ = (templates.problem(&answer), templates.entry("a", &answer.question), answer.line());
    }
}

/// An order: what is before is not behind as well.
fn versions(text: &str) {
    let versions: Vec<_> = text.split_whitespace().take(8).collect();
    for a in &versions {
        for b in &versions {
            assert_eq!(compare_versions(a, b), compare_versions(b, a).reverse(), "{a} and {b}");
        }
    }
}

fn values(text: &str) {
    let _ = (text.parse::<ByteSize>(), text.parse::<Fragment>(), text.parse::<GuestPath>(), text.parse::<Name>());
    let _ = (text.parse::<Sha256>(), text.parse::<Cidr>(), duration(text), shown(text), visible(text, 40));
    if let Ok(path) = GuestPath::from_archive(text) {
        let mut again = String::new();
        let _ = write!(again, "{path}");
        assert!(!path.components().any(|name| name == ".."), "{path}");
    }
    let _ = (text.parse::<goldsmith::launch::host::Mac>(), text.parse::<goldsmith::launch::host::Choice>());
    let _ = text.parse::<goldsmith::launch::host::Publish>();
}
