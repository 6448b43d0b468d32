//! Tests that do what tests should not.

use std::path::PathBuf;
use std::time::Duration;

/// A file that one attempt leaves for the next one of the same run. Offload gives each run an id.
fn mark(name: &str) -> PathBuf {
    let run = std::env::var("OFFLOAD_RUN_ID").unwrap_or_default();
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{run}"))
}

/// Whether this is the first attempt; the second one removes the mark.
fn first(name: &str) -> bool {
    let mark = mark(name);
    if mark.exists() {
        std::fs::remove_file(mark).unwrap();
        return false;
    }
    std::fs::write(mark, "").unwrap();
    true
}

#[test]
fn fails() {
    println!("what the test printed");
    let numeral = roman::numeral(9);
    assert_eq!(numeral.as_deref(), Some("VIIII"), "nine");
}

#[test]
fn returns_an_error() -> Result<(), String> {
    Err("the emperor is not at home".to_owned())
}

#[test]
#[ignore = "takes a whole afternoon"]
fn ignored() {
    assert_eq!(roman::number("MMXXVI"), Some(2026));
}

/// Passes at the second attempt, which Offload makes.
#[test]
fn flaky() {
    assert!(!first("flaky"), "the first attempt always fails");
}

/// Passes at the second attempt, which nextest makes: see .config/nextest.toml.
#[test]
fn flaky_in_nextest() {
    assert!(!first("flaky_in_nextest"), "the first attempt always fails");
}

#[test]
fn slow() {
    std::thread::sleep(Duration::from_secs(2));
}

/// Nextest ends it: see .config/nextest.toml.
#[test]
fn too_slow() {
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn aborts() {
    println!("the last words");
    std::process::abort();
}

#[test]
fn overflows_its_stack() {
    fn deeper(depth: u64) -> u64 {
        if depth == u64::MAX {
            return 0;
        }
        std::hint::black_box(deeper(std::hint::black_box(depth) + 1)) + 1
    }
    assert_eq!(deeper(0), 0);
}

/// Its process goes on after its end.
#[test]
fn leaves_a_process_behind() {
    std::process::Command::new("sleep").arg("3").spawn().unwrap();
}
