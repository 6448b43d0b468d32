//! Roman numerals.

/// Every letter or pair of letters, largest first.
const SYMBOLS: [(u32, &str); 13] = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

/// The largest number that has a numeral.
pub const MAX: u32 = if cfg!(feature = "barred") { 3_999_999 } else { 3_999 };

/// The numeral of a number; `None` for 0 and above `MAX`.
pub fn numeral(number: u32) -> Option<String> {
    if number == 0 || number > MAX {
        return None;
    }
    let mut rest = number % 4_000;
    let mut text = String::new();
    if number > 3_999 {
        for letter in numeral(number / 1_000)?.chars() {
            text.push(letter);
            text.push('\u{305}');
        }
        rest = number % 1_000;
    }
    for (value, letters) in SYMBOLS {
        while rest >= value {
            text.push_str(letters);
            rest -= value;
        }
    }
    Some(text)
}

/// The number of a numeral; `None` for anything that `numeral` would not write.
pub fn number(text: &str) -> Option<u32> {
    let mut rest = text;
    let mut sum = 0;
    for (value, letters) in SYMBOLS {
        while let Some(after) = rest.strip_prefix(letters) {
            rest = after;
            sum += value;
        }
    }
    (rest.is_empty() && numeral(sum).as_deref() == Some(text)).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones() {
        assert_eq!(numeral(3).as_deref(), Some("III"));
    }

    #[test]
    fn subtractive_pairs() {
        assert_eq!(numeral(1994).as_deref(), Some("MCMXCIV"));
    }

    #[test]
    fn nothing_for_zero() {
        assert_eq!(numeral(0), None);
    }

    #[test]
    fn reads_what_it_writes() {
        for each in 1..=3_999 {
            assert_eq!(number(&numeral(each).unwrap()), Some(each));
        }
    }

    #[test]
    fn rejects_what_it_would_not_write() {
        assert_eq!(number("IIII"), None);
    }

    #[test]
    #[should_panic(expected = "unwrap()` on a `None` value")]
    fn panics_as_it_should() {
        numeral(0).unwrap();
    }

    /// The program has a test of the same name, in a binary of the same name.
    #[test]
    fn usage() {
        assert!(MAX >= 3_999);
    }

    #[cfg(feature = "barred")]
    #[test]
    fn barred_letters() {
        assert_eq!(numeral(5_001).as_deref(), Some("V\u{305}I"));
    }
}
