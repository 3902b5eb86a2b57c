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

/// The candidate closest to `word`, when it is close enough to be what was meant.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = candidates.into_iter().min_by_key(|candidate| distance(word, candidate))?;
    (distance(word, best) <= word.chars().count() / 3 + 1).then_some(best)
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
    }
}
