//! Debian version comparison. Source: deb-version(7), Debian Policy 5.6.12.

use std::cmp::Ordering;

/// Compares two versions: epoch, upstream version, revision.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_epoch, a_rest) = epoch(a);
    let (b_epoch, b_rest) = epoch(b);
    let (a_upstream, a_revision) = a_rest.rsplit_once('-').unwrap_or((a_rest, ""));
    let (b_upstream, b_revision) = b_rest.rsplit_once('-').unwrap_or((b_rest, ""));
    a_epoch.cmp(&b_epoch).then_with(|| part(a_upstream, b_upstream)).then_with(|| part(a_revision, b_revision))
}

fn epoch(version: &str) -> (u64, &str) {
    version.split_once(':').and_then(|(epoch, rest)| Some((epoch.parse().ok()?, rest))).unwrap_or((0, version))
}

/// Compares alternating runs of non-digits and digits.
fn part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (a_text, b_text) = (run(&mut a, |byte| !byte.is_ascii_digit()), run(&mut b, |byte| !byte.is_ascii_digit()));
        let texts = letters(a_text, b_text);
        if texts.is_ne() {
            return texts;
        }
        let (a_digits, b_digits) = (run(&mut a, u8::is_ascii_digit), run(&mut b, u8::is_ascii_digit));
        let numbers = digits(a_digits, b_digits);
        if numbers.is_ne() {
            return numbers;
        }
    }
    Ordering::Equal
}

fn run<'a>(text: &mut &'a [u8], belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().position(|byte| !belongs(byte)).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

/// Tilde sorts before the end, the end before letters, letters before everything else.
fn letters(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let longest = a.len().max(b.len());
    (0..longest)
        .map(|at| weight(a.get(at)).cmp(&weight(b.get(at))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn digits(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().position(|digit| *digit != b'0').map_or(digits.len(), |at| at);
    let (a, b) = (a.get(significant(a)..).unwrap_or_default(), b.get(significant(b)..).unwrap_or_default());
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_policy_says() {
        let sorted = [
            "0.9",
            "1.0~rc1-1",
            "1.0",
            "1.0-1~bpo12+1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1+deb12u1",
            "1.0-2",
            "1.0a",
            "1.0+dfsg",
            "1.00001.5",
            "1.2",
            "1.10",
            "1:0.1",
        ];
        for pair in sorted.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(compare("0:1.0-0", "1.0"), Ordering::Equal);
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_an_independent_implementation(a in "([0-9]:)?[0-9][0-9a-z.+~]{0,8}(-[0-9a-z.+~]{1,5})?", b in "([0-9]:)?[0-9][0-9a-z.+~]{0,8}(-[0-9a-z.+~]{1,5})?") {
            let parse = |text: &str| text.parse::<debversion::Version>();
            if let (Ok(left), Ok(right)) = (parse(&a), parse(&b)) {
                proptest::prop_assert_eq!(compare(&a, &b), left.cmp(&right));
            }
        }
    }
}
