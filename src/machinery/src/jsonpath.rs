//! JSONPath as the columns and selectable fields of custom resources use it: `.spec.replicas`,
//! `.status.conditions[?(@.type=="Ready")].status`, `.metadata.annotations.example\.com/team`, `.spec.ports[*].port`.
//!
//! Of Kubernetes' dialect these are left out, as no path of one value needs them: ranges of text, functions, `||`.

use std::cmp::Ordering;

use serde_json::Value;

/// A path with more steps is none.
const STEPS_MAX: usize = 64;
/// Filters within filters deeper than this are none: each is read, and walked, within the one around it.
const FILTERS_MAX: usize = 8;
/// A longer text is no path.
const CHARS_MAX: usize = 4096;
/// A step finds no more values than this.
const FOUND_MAX: usize = 10_000;
/// One search looks at no more values than this, in all its filters together.
const VISITS_MAX: usize = 100_000;

/// A path that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// `.name`, `['name']`
    Field(String),
    /// `[0]`, `[-1]`
    Index(i64),
    /// `[1:3]`, `[0:4:2]`: from, to, by.
    Slice(Option<i64>, Option<i64>, i64),
    /// `.*`, `[*]`
    All,
    /// `..`: the value and everything in it.
    Descend,
    /// `[?(@.type=="Ready")]`
    Filter(Vec<Step>, Option<(Compare, Value)>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Compare {
    /// Longer signs first.
    const SIGNS: [(&'static str, Self); 6] = [
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (left, right) => (left == right).then_some(Ordering::Equal),
        };
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

impl JsonPath {
    /// Reads a path that begins with a dot.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > CHARS_MAX {
            return Err(ParseError(format!("longer than {CHARS_MAX} characters")));
        }
        let text = text.strip_prefix('$').unwrap_or(text);
        let steps = Parser { rest: text, filters: 0 }.steps(&[])?;
        Ok(Self(steps))
    }

    /// Reads a path of plain field names: `.spec.replicas`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_simple(text: &str) -> Result<Self, ParseError> {
        let path = Self::parse(text)?;
        match path.0.iter().all(|step| matches!(step, Step::Field(_))) {
            true => Ok(path),
            false => Err(ParseError("must be a simple json path of field names".to_string())),
        }
    }

    /// The names of a path that has nothing else.
    pub fn names(&self) -> Option<Vec<&str>> {
        let steps = self.0.iter().map(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            _ => None,
        });
        steps.collect()
    }

    /// Every value at the path, in order; the first where there are very many.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        Search { visits_left: VISITS_MAX }.walk(&self.0, value)
    }
}

/// One search with what it may still look at.
struct Search {
    visits_left: usize,
}

impl Search {
    fn walk<'v>(&mut self, steps: &[Step], value: &'v Value) -> Vec<&'v Value> {
        let mut at = vec![value];
        for step in steps {
            let mut next = Vec::new();
            for value in at {
                self.step_into(step, value, &mut next);
            }
            at = next;
        }
        at
    }

    /// Whether one more value may be looked at, by a step that has found so many.
    fn visit(&mut self, found: usize) -> bool {
        let may = found < FOUND_MAX && self.visits_left > 0;
        self.visits_left -= usize::from(may);
        may
    }

    fn take<'v>(&mut self, value: Option<&'v Value>, found: &mut Vec<&'v Value>) {
        if let Some(value) = value
            && self.visit(found.len())
        {
            found.push(value);
        }
    }

    fn take_all<'v>(&mut self, values: impl Iterator<Item = &'v Value>, found: &mut Vec<&'v Value>) {
        for value in values {
            if !self.visit(found.len()) {
                return;
            }
            found.push(value);
        }
    }

    fn step_into<'v>(&mut self, step: &Step, value: &'v Value, found: &mut Vec<&'v Value>) {
        match (step, value) {
            (Step::Field(name), Value::Object(fields)) => self.take(fields.get(name), found),
            (Step::Index(index), Value::Array(list)) => {
                self.take(place(*index, list.len()).and_then(|at| list.get(at)), found);
            }
            (Step::Slice(from, to, by), Value::Array(list)) => {
                let bound =
                    |at: i64| if at < 0 { at + list.len() as i64 } else { at }.clamp(0, list.len() as i64) as usize;
                let (from, to) = (bound(from.unwrap_or(0)), to.map_or(list.len(), bound));
                let by = usize::try_from(*by).unwrap_or(1).max(1);
                self.take_all(list.iter().take(to).skip(from).step_by(by), found);
            }
            (Step::All, Value::Array(list)) => self.take_all(list.iter(), found),
            (Step::All, Value::Object(fields)) => self.take_all(fields.values(), found),
            (Step::Descend, _) => self.descend(value, found),
            (Step::Filter(path, test), Value::Array(list)) => {
                for value in list {
                    if !self.visit(found.len()) {
                        return;
                    }
                    let left = self.walk(path, value);
                    let holds = match test {
                        None => !left.is_empty(),
                        Some((compare, right)) => left.first().is_some_and(|left| compare.holds(left, right)),
                    };
                    if holds {
                        found.push(value);
                    }
                }
            }
            _ => {}
        }
    }

    fn descend<'v>(&mut self, value: &'v Value, found: &mut Vec<&'v Value>) {
        if !self.visit(found.len()) {
            return;
        }
        found.push(value);
        match value {
            Value::Array(list) => list.iter().for_each(|value| self.descend(value, found)),
            Value::Object(fields) => fields.values().for_each(|value| self.descend(value, found)),
            _ => {}
        }
    }
}

fn place(index: i64, count: usize) -> Option<usize> {
    usize::try_from(if index < 0 { index + count as i64 } else { index }).ok()
}

struct Parser<'a> {
    rest: &'a str,
    /// The filters around what is read.
    filters: usize,
}

impl<'a> Parser<'a> {
    fn take(&mut self, prefix: &str) -> bool {
        self.rest.strip_prefix(prefix).map(|rest| self.rest = rest).is_some()
    }

    /// Steps until the text ends, or one of `ends` comes.
    fn steps(&mut self, ends: &[&str]) -> Result<Vec<Step>, ParseError> {
        let mut steps = Vec::new();
        while !self.rest.is_empty() && !ends.iter().any(|end| self.rest.starts_with(end)) {
            if steps.len() >= STEPS_MAX {
                return Err(ParseError(format!("more than {STEPS_MAX} steps")));
            }
            if self.take("..") {
                steps.push(Step::Descend);
                if !self.rest.starts_with('[') {
                    steps.push(self.name()?);
                }
            } else if self.take(".") {
                // A lone dot is the value itself.
                if !self.rest.is_empty()
                    && !self.rest.starts_with('[')
                    && !ends.iter().any(|e| self.rest.starts_with(e))
                {
                    steps.push(self.name()?);
                }
            } else if self.take("[") {
                steps.push(self.brackets()?);
            } else {
                let first = self.rest.chars().next().unwrap_or_default();
                return Err(ParseError(format!("unexpected character {first:?}: steps begin with a dot or a bracket")));
            }
        }
        Ok(steps)
    }

    fn name(&mut self) -> Result<Step, ParseError> {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => match chars.next() {
                    Some((_, escaped)) => name.push(escaped),
                    None => return Err(ParseError("a backslash at the end".to_string())),
                },
                '.' | '[' | ']' | ')' | '=' | '!' | '<' | '>' | ' ' | '{' | '}' => {
                    end = at;
                    break;
                }
                char => name.push(char),
            }
        }
        self.rest = &self.rest[end..];
        match name.as_str() {
            "" => Err(ParseError("a name is missing".to_string())),
            "*" => Ok(Step::All),
            _ => Ok(Step::Field(name)),
        }
    }

    fn brackets(&mut self) -> Result<Step, ParseError> {
        if self.take("?(") {
            return self.filter();
        }
        let quote = ["'", "\""].into_iter().find(|quote| self.rest.starts_with(quote));
        if let Some(quote) = quote {
            let Value::String(name) = self.literal(quote)? else { return Err(ParseError("no name".to_string())) };
            return self.close(Step::Field(name));
        }
        let end = self.rest.find(']').ok_or_else(|| ParseError("unterminated array".to_string()))?;
        let inner = self.rest[..end].trim();
        self.rest = &self.rest[end..];
        let number =
            |text: &str| text.trim().parse::<i64>().map_err(|_| ParseError(format!("invalid array index {text}")));
        let optional = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
        let parts: Vec<&str> = inner.split(':').collect();
        let step = match parts.as_slice() {
            ["*"] => Step::All,
            [index] => Step::Index(number(index)?),
            [from, to] => Step::Slice(optional(from)?, optional(to)?, 1),
            [from, to, by] => Step::Slice(optional(from)?, optional(to)?, optional(by)?.unwrap_or(1)),
            _ => return Err(ParseError(format!("invalid array index {inner}"))),
        };
        self.close(step)
    }

    fn close(&mut self, step: Step) -> Result<Step, ParseError> {
        if self.take("]") { Ok(step) } else { Err(ParseError("unterminated array".to_string())) }
    }

    fn filter(&mut self) -> Result<Step, ParseError> {
        self.rest = self.rest.trim_start();
        if !self.take("@") {
            return Err(ParseError("a filter begins with @".to_string()));
        }
        let mut ends: Vec<&str> = Compare::SIGNS.iter().map(|(sign, _)| *sign).collect();
        ends.extend([" ", ")"]);
        self.filters += 1;
        if self.filters > FILTERS_MAX {
            return Err(ParseError(format!("filters within filters deeper than {FILTERS_MAX}")));
        }
        let path = self.steps(&ends)?;
        self.filters -= 1;
        self.rest = self.rest.trim_start();
        let compare = Compare::SIGNS.iter().find(|(sign, _)| self.rest.starts_with(sign));
        let test = match compare {
            None => None,
            Some((sign, compare)) => {
                self.rest = self.rest[sign.len()..].trim_start();
                let quote = ["'", "\""].into_iter().find(|quote| self.rest.starts_with(quote));
                let right = match quote {
                    Some(quote) => self.literal(quote)?,
                    None => {
                        let end = self.rest.find([' ', ')']).unwrap_or(self.rest.len());
                        let text = &self.rest[..end];
                        self.rest = &self.rest[end..];
                        serde_json::from_str(text).map_err(|_| ParseError(format!("{text} is no value")))?
                    }
                };
                Some((*compare, right))
            }
        };
        self.rest = self.rest.trim_start();
        if !self.take(")") {
            return Err(ParseError("unterminated filter".to_string()));
        }
        self.close(Step::Filter(path, test))
    }

    fn literal(&mut self, quote: &str) -> Result<Value, ParseError> {
        let inner = &self.rest[quote.len()..];
        let end = inner.find(quote).ok_or_else(|| ParseError("unterminated quoted string".to_string()))?;
        self.rest = &inner[end + quote.len()..];
        Ok(inner[..end].into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_what_kubectl_shows() {
        let object = json!({
            "metadata": {"annotations": {"example.com/team": "blue"}},
            "spec": {"replicas": 3, "ports": [{"port": 1, "name": "a"}, {"port": 2}, {"port": 3}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Live", "status": "False"}]},
        });
        let cases = [
            (".spec.replicas", json!([3])),
            ("$.spec.replicas", json!([3])),
            (r".metadata.annotations.example\.com/team", json!(["blue"])),
            (".metadata.annotations['example.com/team']", json!(["blue"])),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (".status.conditions[?(@.type == 'Live')].status", json!(["False"])),
            (".spec.ports[?(@.port>1)].port", json!([2, 3])),
            (".spec.ports[?(@.name)].port", json!([1])),
            (".spec.ports[0].port", json!([1])),
            (".spec.ports[-1].port", json!([3])),
            (".spec.ports[0:2].port", json!([1, 2])),
            (".spec.ports[*].port", json!([1, 2, 3])),
            ("..port", json!([1, 2, 3])),
            (".spec.absent.deeper", json!([])),
            (".spec.replicas.deeper", json!([])),
        ];
        for (text, expected) in cases {
            let path = JsonPath::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(json!(path.find(&object)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["spec", ".spec[", ".spec[x]", ".a[?(b)]", ".a[?(@.b==)]", ".a[?(@.b", ".a\\", ".a['b]", ".a..."] {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
        let nested = |filters: usize| format!(".a{}{}", "[?(@.a".repeat(filters), ")]".repeat(filters));
        assert!(JsonPath::parse(&nested(FILTERS_MAX)).is_ok());
        for filters in [FILTERS_MAX + 1, 500, 100_000] {
            assert!(JsonPath::parse(&nested(filters)).is_err(), "{filters}");
        }
        assert!(JsonPath::parse(&format!(".{}", "a".repeat(CHARS_MAX))).is_err());
        assert_eq!(JsonPath::parse(".spec.replicas").unwrap().names(), Some(vec!["spec", "replicas"]));
        assert!(JsonPath::parse_simple(".spec[0]").is_err());
    }

    #[test]
    fn what_is_looked_at_is_bounded() {
        let row: Vec<Value> = (0..500).map(Value::from).collect();
        let table: Vec<Value> = (0..500).map(|_| Value::from(row.clone())).collect();
        let object = json!({"a": table});
        assert_eq!(JsonPath::parse(".a[*][*]").unwrap().find(&object).len(), FOUND_MAX);
        // Each filter looks at everything in each element of the one around it.
        let lists = (0..90).fold(json!(1), |inner, _| json!([inner]));
        let filters = format!("..{}@.none{}", "[?(@..".repeat(FILTERS_MAX - 1) + "[?(", ")]".repeat(FILTERS_MAX));
        let path = JsonPath::parse(&filters).unwrap_or_else(|error| panic!("{filters}: {error}"));
        assert_eq!(path.find(&lists), Vec::<&Value>::new());
    }
}
