//! How far apart two words are: for "did you mean".

/// The number of letters to insert, delete or replace to turn `a` into `b` (Levenshtein).
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, letter) in a.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&b) {
            let next = (diagonal + usize::from(letter != *other)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = next;
            left = next;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The longest word, in bytes, that something is suggested for: time grows with the square of it. Debian's longest package
/// name has 75 letters.
const LONGEST: usize = 80;

/// The candidate closest to `word`, when it is close enough to be what was meant. Long words are nobody's typing error.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let most = word.chars().count() / 3 + 1;
    let near = |candidate: &&str| {
        // A letter has at most four bytes.
        candidate.len() <= LONGEST && candidate.len().abs_diff(word.len()) <= 4 * most
    };
    let measured = candidates.into_iter().filter(near).map(|candidate| (distance(word, candidate), candidate));
    measured.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, best)| best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_far_apart_as_their_edits() {
        for (a, b, edits) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("packges", "packages", 1)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
        assert_eq!(did_you_mean("packges", ["network", "packages"]), Some("packages"));
        assert_eq!(did_you_mean("zzz", ["network", "packages"]), None);
        let long = "x".repeat(1 << 20);
        assert_eq!(did_you_mean(&long, [long.as_str()]), None);
    }
}
