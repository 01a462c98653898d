//! Source text to tokens.

use crate::literal;
use crate::source::Issue;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Int(u64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    /// A name or a reserved word.
    Ident(String),
    /// `` `a-b` ``, a field's name after a dot.
    Quoted(String),
    /// An operator or a bracket.
    Symbol(&'static str),
    End,
}

/// A token and the code points before it.
#[derive(Debug, Clone)]
pub(crate) struct Spanned {
    pub token: Token,
    pub offset: usize,
}

const SYMBOLS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*",
    "/", "%", "=",
];

/// The tokens of a source, the last of which is [`Token::End`].
pub(crate) fn tokenize(source: &str) -> Result<Vec<Spanned>, Issue> {
    let mut lexer = Lexer { source, at: 0, offset: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let offset = lexer.offset;
        if lexer.rest().is_empty() {
            tokens.push(Spanned { token: Token::End, offset });
            return Ok(tokens);
        }
        tokens.push(Spanned { token: lexer.token()?, offset });
    }
}

struct Lexer<'s> {
    source: &'s str,
    /// In bytes.
    at: usize,
    /// In code points.
    offset: usize,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn advance(&mut self, bytes: usize) -> &'s str {
        let taken = &self.rest()[..bytes];
        self.at += bytes;
        self.offset += taken.chars().count();
        taken
    }

    fn issue(&self, message: impl Into<String>) -> Issue {
        Issue::new(self.source, self.offset, message)
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches(['\t', ' ', '\r', '\n', '\u{c}']).len();
            self.advance(blank);
            if !self.rest().starts_with("//") {
                return;
            }
            let comment = self.rest().find('\n').unwrap_or(self.rest().len());
            self.advance(comment);
        }
    }

    fn token(&mut self) -> Result<Token, Issue> {
        let rest = self.rest();
        let first = rest.chars().next().unwrap_or_default();
        let second = rest.chars().nth(1).unwrap_or_default();
        if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
            return self.number();
        }
        if let Some(prefix) = string_prefix(rest) {
            return self.text(prefix);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            return Ok(Token::Ident(self.advance(end).to_string()));
        }
        if first == '`' {
            return self.quoted();
        }
        match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) if *symbol != "=" => {
                self.advance(symbol.len());
                Ok(Token::Symbol(symbol))
            }
            _ => Err(self.issue(format!("Syntax error: token recognition error at: '{first}'"))),
        }
    }

    fn quoted(&mut self) -> Result<Token, Issue> {
        let rest = &self.rest()[1..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_.-/ ".contains(c)).unwrap_or(rest.len());
        if end == 0 || !rest[end..].starts_with('`') {
            let shown: String = self.rest().chars().take(end + 1).collect();
            return Err(self.issue(format!("Syntax error: token recognition error at: '{shown}'")));
        }
        let name = rest[..end].to_string();
        self.advance(end + 2);
        Ok(Token::Quoted(name))
    }

    fn number(&mut self) -> Result<Token, Issue> {
        let rest = self.rest();
        let start = self.offset;
        let failed = |what: &str| Issue::new(self.source, start, format!("invalid {what} literal"));
        if let Some(hex) = rest.strip_prefix("0x") {
            let digits = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            if digits > 0 {
                let is_uint = hex[digits..].starts_with(['u', 'U']);
                let number = u64::from_str_radix(&hex[..digits], 16);
                let number = number.map_err(|_| failed(if is_uint { "uint" } else { "int" }))?;
                self.advance(2 + digits + usize::from(is_uint));
                return Ok(if is_uint { Token::Uint(number) } else { Token::Int(number) });
            }
        }
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let mut end = digits(rest);
        let mut is_double = false;
        if rest[end..].starts_with('.') && digits(&rest[end + 1..]) > 0 {
            is_double = true;
            end += 1 + digits(&rest[end + 1..]);
        }
        if rest[end..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            let exponent = digits(&rest[end + 1 + sign..]);
            if exponent > 0 {
                is_double = true;
                end += 1 + sign + exponent;
            }
        }
        if is_double {
            let number: f64 = rest[..end].parse().map_err(|_| failed("double"))?;
            if number.is_infinite() {
                return Err(failed("double"));
            }
            self.advance(end);
            return Ok(Token::Double(number));
        }
        let is_uint = rest[end..].starts_with(['u', 'U']);
        let number = rest[..end].parse().map_err(|_| failed(if is_uint { "uint" } else { "int" }))?;
        self.advance(end + usize::from(is_uint));
        Ok(if is_uint { Token::Uint(number) } else { Token::Int(number) })
    }

    fn text(&mut self, prefix: Prefix) -> Result<Token, Issue> {
        let start = self.offset;
        let rest = &self.rest()[prefix.length..];
        let quote = &rest[..1];
        let triple = quote.repeat(3);
        let is_triple = rest.starts_with(&triple);
        let quotes = if is_triple { triple.as_str() } else { quote };
        let body = &rest[quotes.len()..];
        let mut characters = body.char_indices();
        let end = loop {
            let Some((at, character)) = characters.next() else {
                let shown: String = self.rest().chars().take(40).collect();
                return Err(self.issue(format!("Syntax error: token recognition error at: '{shown}'")));
            };
            if body[at..].starts_with(quotes) {
                break at;
            }
            if !is_triple && matches!(character, '\n' | '\r') {
                let shown = &self.rest()[..prefix.length + 1 + at];
                return Err(self.issue(format!("Syntax error: token recognition error at: '{shown}'")));
            }
            if character == '\\' && !prefix.raw {
                characters.next();
            }
        };
        let text = &body[..end];
        let failed = |message: String| Issue::new(self.source, start, message);
        let token = match (prefix.bytes, prefix.raw) {
            (false, true) => Token::String(text.to_string()),
            (true, true) => Token::Bytes(text.as_bytes().to_vec()),
            (false, false) => Token::String(literal::unescape(text).map_err(failed)?),
            (true, false) => Token::Bytes(literal::unescape_bytes(text).map_err(failed)?),
        };
        self.advance(prefix.length + 2 * quotes.len() + end);
        Ok(token)
    }
}

struct Prefix {
    length: usize,
    raw: bool,
    bytes: bool,
}

/// What stands before the quotes of a literal: nothing, `r`, `b`, `br` and `rb` in either case.
fn string_prefix(rest: &str) -> Option<Prefix> {
    let length = rest.bytes().take(3).position(|byte| matches!(byte, b'"' | b'\''))?;
    // Before the quotes there is nothing but letters of ASCII, or this is no literal.
    let rest = rest.get(..length).map(|_| rest)?;
    let letters = rest[..length].to_ascii_lowercase();
    let (raw, bytes) = match letters.as_str() {
        "" => (false, false),
        "r" => (true, false),
        "b" => (false, true),
        "br" | "rb" => (true, true),
        _ => return None,
    };
    Some(Prefix { length, raw, bytes })
}
