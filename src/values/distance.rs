//! How far apart two words are: for "did you mean".

/// The number of letters to insert, delete, replace or swap with their neighbour to turn `a` into `b`.
pub fn distance(a: &str, b: &str) -> usize {
    strsim::osa_distance(a, b)
}

/// The longest word, in bytes, that something is suggested for: time grows with the square of it. Debian's longest package
/// name has 75 letters.
const LONGEST: usize = 80;

/// The candidate closest to `word`, when it is close enough to be what was meant. Long words are nobody's typing error.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest(word, word.chars().count() / 3 + 1, candidates)
}

/// The candidate closest to `word`, at most so many edits away. Of equals the one that is as long, then the one that begins
/// alike.
pub fn nearest<'a>(word: &str, edits: usize, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let near = |candidate: &&str| {
        // A letter has at most four bytes.
        candidate.len() <= LONGEST && candidate.len().abs_diff(word.len()) <= 4 * edits
    };
    let measured = candidates.into_iter().filter(near).map(|candidate| {
        let alike = candidate.chars().next() == word.chars().next();
        (distance(word, candidate), candidate.len().abs_diff(word.len()), !alike, candidate)
    });
    measured.filter(|(distance, ..)| *distance <= edits).min().map(|(.., best)| best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_far_apart_as_their_edits() {
        for (a, b, edits) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("ngnix", "nginx", 1)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
        assert_eq!(did_you_mean("packges", ["network", "packages"]), Some("packages"));
        assert_eq!(did_you_mean("ngnix", ["afnix", "nginx", "unix"]), Some("nginx"));
        assert_eq!(did_you_mean("zzz", ["network", "packages"]), None);
        let long = "x".repeat(1 << 20);
        assert_eq!(did_you_mean(&long, [long.as_str()]), None);
    }
}
