//! Boot parameters: the kernel command line as the kernel splits it.

/// The value of `name` on this command line; the last one wins, as for the kernel. Double quotes keep white space
/// together (kernel `next_arg`, `lib/cmdline.c`), and what follows `--` belongs to init.
pub fn value(line: &str, name: &str) -> Option<String> {
    let words = words(line);
    let own = words.iter().take_while(|word| *word != "--");
    own.filter_map(|word| word.split_once('='))
        .filter(|(key, _)| *key == name)
        .last()
        .map(|(_, value)| value.to_owned())
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_ascii_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn a_parameter_is_found_by_its_whole_name_and_the_last_one_wins() {
        let line = "console=ttyS0 decodo_port=10001 rw xdecodo_port=3 note=\"two words\" decodo_port=10002\n";
        for (name, expected) in [
            ("decodo_port", Some("10002")),
            ("console", Some("ttyS0")),
            ("note", Some("two words")),
            ("rw", None),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(value(line, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn what_follows_two_dashes_belongs_to_init() {
        assert_eq!(value("a=1 -- a=2", "a").as_deref(), Some("1"));
    }

    #[test]
    fn an_open_quote_does_not_lose_the_rest() {
        assert_eq!(value("a=\"1 2", "a").as_deref(), Some("1 2"));
    }
}
