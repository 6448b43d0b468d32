//! A test harness of its own: each line of tests/cases.txt is a test, with its name, a number and the number's numeral.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = std::fs::read_to_string("tests/cases.txt").unwrap();
    let mut cases = text.lines().map(|line| line.rsplit_once(" => ").unwrap());
    if arguments.iter().any(|each| each == "--list") {
        if !arguments.iter().any(|each| each == "--ignored") {
            cases.for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let (name, case) = cases.find(|(name, _)| arguments.iter().any(|each| each == name)).expect("one of the tests");
    let (number, numeral) = case.split_once(' ').unwrap();
    let found = roman::numeral(number.parse().unwrap());
    if found.as_deref() == Some(numeral) {
        return ExitCode::SUCCESS;
    }
    eprintln!("{name}: {number} is {found:?}, not {numeral:?}");
    ExitCode::FAILURE
}
