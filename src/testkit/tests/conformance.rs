//! docs/conformance.md says which test covers which behaviour: each row's test is there, and says the same of itself.

use std::collections::BTreeSet;
use std::path::Path;

use testkit::tools::repository;

/// What stands above a test that covers a row, after the signs of a comment.
const MARK: &str = "conformance: ";

/// A row of the page.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// The behaviour in the page's words.
    words: String,
    /// The file and the test; `None` where the behaviour is open.
    test: Option<(String, String)>,
}

/// The rows of the page's tables: behaviour, file, test; or behaviour, `open`, why.
fn rows(page: &str) -> Vec<Row> {
    let cells = |line: &str| -> Option<[String; 3]> {
        let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        let cells: Vec<String> = inner.split('|').map(|cell| cell.trim().trim_matches('`').to_string()).collect();
        cells.try_into().ok()
    };
    let of_table = |[words, ..]: &[String; 3]| words != "behaviour" && !words.starts_with("---");
    let row = |[words, file, test]: [String; 3]| {
        let test = (file != "open").then_some((file, test));
        Row { words, test }
    };
    page.lines().filter_map(cells).filter(of_table).map(row).collect()
}

/// The name of the test that a line declares: a function of Rust, Python or Go, or `test("…")` of JavaScript.
fn declared(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("test(\"") {
        return rest.split('"').next().map(str::to_string);
    }
    let words = ["pub ", "async ", "fn ", "def ", "func "];
    let rest = words.iter().fold(line, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
    let is_function = rest.len() < line.len();
    let name: String = rest.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
    (is_function && !name.is_empty()).then_some(name)
}

/// The marks of a file, each with the name of the test below it.
fn marks(text: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<String> = Vec::new();
    for line in text.lines() {
        let comment = line.trim_start().trim_start_matches(['/', '#']).trim_start();
        let is_comment = comment.len() < line.trim_start().len();
        if let Some(words) = comment.strip_prefix(MARK).filter(|_| is_comment) {
            waiting.push(words.trim().to_string());
        } else if let Some(name) = declared(line) {
            found.extend(waiting.drain(..).map(|words| (words, name.clone())));
        }
    }
    found
}

/// What is wrong with a row; `None` where its test is as it says.
fn fault(row: &Row, root: &Path) -> Option<String> {
    let (file, test) = row.test.as_ref()?;
    let Ok(text) = std::fs::read_to_string(root.join(file)) else {
        return Some(format!("{}: there is no {file}", row.words));
    };
    let wanted = (row.words.clone(), test.clone());
    let is_there = marks(&text).contains(&wanted);
    (!is_there).then(|| format!("{file} has no test {test} with the words `{MARK}{}` above it", row.words))
}

#[test]
fn every_row_of_the_page_has_its_test() {
    let page = std::fs::read_to_string(repository().join("docs/conformance.md")).expect("the page is there");
    let rows = rows(&page);
    assert!(rows.len() > 100, "the page has {} rows", rows.len());
    let faults: Vec<String> = rows.iter().filter_map(|row| fault(row, &repository())).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let words: BTreeSet<&str> = rows.iter().map(|row| row.words.as_str()).collect();
    assert_eq!(words.len(), rows.len(), "no behaviour stands twice");
}

#[test]
fn rows_and_marks_are_read_as_they_are_written() {
    let page = "| behaviour | file | test |\n|---|---|---|\n| it works | `a.py` | `test_it` |\n| it flies | open | no wings |\n";
    let row = |words: &str, test: Option<(&str, &str)>| Row {
        words: words.to_string(),
        test: test.map(|(file, test)| (file.to_string(), test.to_string())),
    };
    assert_eq!(rows(page), [row("it works", Some(("a.py", "test_it"))), row("it flies", None)]);
    let text = "    # conformance: a\n    def test_a(self):\n// conformance: b\n// conformance: c\n#[tokio::test]\npub async fn b() {\n\
                // conformance: d\ntest(\"says d\", async () => {\nfn other() {}\n";
    let marks: Vec<(String, String)> = marks(text).into_iter().collect();
    let wanted = [("a", "test_a"), ("b", "b"), ("c", "b"), ("d", "says d")];
    assert_eq!(marks, wanted.map(|(words, name)| (words.to_string(), name.to_string())));
}
