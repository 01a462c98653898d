//! The grammar of label selectors in query strings.

use super::{Error, Operator, Requirement};
use crate::field::{FieldError, Path};
use crate::names;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    End,
    Symbol(&'static str),
    /// Symbols that are no operator.
    Unknown(String),
    Word(String),
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::End => "",
            Self::Symbol(text) => text,
            Self::Unknown(text) | Self::Word(text) => text,
        }
    }
}

/// Longest first, so that `==` is not read as two.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];
const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

fn is_symbol(c: char) -> bool {
    "=!(),><".contains(c)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

struct Tokens {
    tokens: Vec<Token>,
    at: usize,
}

impl Tokens {
    fn new(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut rest = text.trim_start_matches(is_space);
        while let Some(first) = rest.chars().next() {
            if is_symbol(first) {
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)).copied();
                tokens.push(symbol.map_or_else(|| Token::Unknown(first.to_string()), Token::Symbol));
                rest = &rest[symbol.map_or(first.len_utf8(), str::len)..];
            } else {
                let end = rest.find(|c| is_symbol(c) || is_space(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_string()));
                rest = &rest[end..];
            }
            rest = rest.trim_start_matches(is_space);
        }
        Self { tokens, at: 0 }
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }
}

fn syntax<T>(found: &str, expected: &str) -> Result<T, Error> {
    Err(Error::Syntax(format!("found '{found}', expected: {expected}")))
}

/// The requirements of a selector, in the order they are written.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, Error> {
    let mut tokens = Tokens::new(text);
    let mut requirements = Vec::new();
    loop {
        match tokens.peek() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Symbol("!") => {
                let requirement = requirement(&mut tokens)
                    .map_err(|error| Error::Syntax(format!("unable to parse requirement: {error}")))?;
                requirements.push(requirement);
            }
            other => return syntax(other.text(), "!, identifier, or 'end of string'"),
        }
        match tokens.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => {
                if !matches!(tokens.peek(), Token::Word(_) | Token::Symbol("!")) {
                    return syntax(tokens.peek().text(), "identifier after ','");
                }
            }
            other => return syntax(other.text(), "',' or 'end of string'"),
        }
    }
}

fn requirement(tokens: &mut Tokens) -> Result<Requirement, Error> {
    let path = Path::default();
    let negated = *tokens.peek() == Token::Symbol("!");
    if negated {
        tokens.next();
    }
    let key = match tokens.next() {
        Token::Word(key) => key,
        other => return syntax(other.text(), "identifier"),
    };
    let wrong = names::qualified_name(&key);
    if !wrong.is_empty() {
        return Err(Error::Invalid(vec![FieldError::invalid(&path, key, wrong.join("; "))]));
    }
    if negated {
        // What follows, if anything, is refused by the caller.
        return Requirement::new(&key, Operator::DoesNotExist, Vec::new(), &path);
    }
    if matches!(tokens.peek(), Token::End | Token::Symbol(",")) {
        return Requirement::new(&key, Operator::Exists, Vec::new(), &path);
    }
    let operator = match tokens.next() {
        Token::Symbol("=") => Operator::Equals,
        Token::Symbol("==") => Operator::DoubleEquals,
        Token::Symbol("!=") => Operator::NotEquals,
        Token::Symbol(">") => Operator::GreaterThan,
        Token::Symbol("<") => Operator::LessThan,
        Token::Word(word) if word == "in" => Operator::In,
        Token::Word(word) if word == "notin" => Operator::NotIn,
        other => return syntax(other.text(), OPERATORS),
    };
    let values = match operator {
        Operator::In | Operator::NotIn => values(tokens)?,
        _ => vec![value(tokens)?],
    };
    Requirement::new(&key, operator, values, &path)
}

fn value(tokens: &mut Tokens) -> Result<String, Error> {
    if matches!(tokens.peek(), Token::End | Token::Symbol(",")) {
        return Ok(String::new());
    }
    match tokens.next() {
        Token::Word(value) => Ok(value),
        other => syntax(other.text(), "identifier"),
    }
}

/// `(x,y)`; what is missing between commas is the empty value.
fn values(tokens: &mut Tokens) -> Result<Vec<String>, Error> {
    match tokens.next() {
        Token::Symbol("(") => {}
        other => return Err(Error::Syntax(format!("found '{}' expected: '('", other.text()))),
    }
    let mut values = Vec::new();
    loop {
        match tokens.next() {
            Token::Word(value) => {
                values.push(value);
                match tokens.next() {
                    Token::Symbol(",") if *tokens.peek() == Token::Symbol(")") => {
                        values.push(String::new());
                        tokens.next();
                        break;
                    }
                    Token::Symbol(",") => {}
                    Token::Symbol(")") => break,
                    other => return syntax(other.text(), "',' or ')'"),
                }
            }
            Token::Symbol(",") => {
                values.push(String::new());
                if *tokens.peek() == Token::Symbol(")") {
                    tokens.next();
                    break;
                }
            }
            Token::Symbol(")") if values.is_empty() => {
                values.push(String::new());
                break;
            }
            other => return syntax(other.text(), "',', ')' or identifier"),
        }
    }
    values.sort();
    values.dedup();
    Ok(values)
}
