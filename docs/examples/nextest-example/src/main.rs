//! `roman 1994` prints `MCMXCIV`.

fn answer(argument: Option<&str>) -> Result<String, String> {
    let text = argument.ok_or("usage: roman NUMBER")?;
    let number = text.parse().map_err(|_| format!("{text} is no number"))?;
    roman::numeral(number).ok_or(format!("{number} has no numeral"))
}

fn main() {
    match answer(std::env::args().nth(1).as_deref()) {
        Ok(numeral) => println!("{numeral}"),
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn answers() {
        assert_eq!(answer(Some("14")), Ok("XIV".to_owned()));
    }

    /// Fails, while the library's test of the same name passes.
    #[test]
    fn usage() {
        assert_eq!(answer(None), Err("usage: roman".to_owned()));
    }
}
