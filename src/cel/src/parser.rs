//! Tokens to a tree, after the grammar of CEL (specification 0.25) with its optional syntax.

use crate::ast::{Entry, Expr, Field, Kind, Literal, op};
use crate::lexer::{Spanned, Token, tokenize};
use crate::source::Issue;

/// No expression is longer; what cel-go allows.
pub(crate) const MAX_CODE_POINTS: usize = 100_000;
/// Nodes within nodes. Checking and evaluation recurse; this keeps them within a thread's stack.
pub(crate) const MAX_DEPTH: usize = 128;
/// Expressions within brackets within expressions: the parser goes through ten functions for each.
const MAX_NESTING: usize = 64;

/// Words that no variable may be called.
const RESERVED: [&str; 18] = [
    "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
    "null", "package", "return", "true", "var",
];
const ALSO_RESERVED: [&str; 3] = ["namespace", "void", "while"];

/// The tree of a source, with macros as plain calls.
pub(crate) fn parse(source: &str) -> Result<Expr, Issue> {
    let length = source.chars().count();
    if length > MAX_CODE_POINTS {
        let message = format!("expression code point size exceeds limit: size: {length}, limit {MAX_CODE_POINTS}");
        return Err(Issue::new("", 0, message));
    }
    let mut parser = Parser { source, tokens: tokenize(source)?, at: 0, depth: 0 };
    let Tall { expr, .. } = parser.expression()?;
    if *parser.peek() != Token::End {
        return Err(parser.unexpected("<EOF>"));
    }
    Ok(expr)
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Spanned>,
    at: usize,
    depth: usize,
}

/// A tree and how many nodes are within each other in it.
struct Tall {
    expr: Expr,
    height: usize,
}

type Parsed = Result<Tall, Issue>;

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)].token
    }

    fn offset(&self) -> usize {
        self.tokens[self.at.min(self.tokens.len() - 1)].offset
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Issue> {
        if self.takes(symbol) { Ok(()) } else { Err(self.unexpected(&format!("'{symbol}'"))) }
    }

    fn unexpected(&self, expected: &str) -> Issue {
        let found = match self.peek() {
            Token::End => "<EOF>".to_string(),
            Token::Symbol(symbol) => (*symbol).to_string(),
            Token::Ident(name) | Token::Quoted(name) => name.clone(),
            Token::Int(number) => number.to_string(),
            Token::Uint(number) => format!("{number}u"),
            Token::Double(number) => number.to_string(),
            Token::String(text) => crate::literal::quote(text),
            Token::Bytes(bytes) => crate::literal::quote_bytes(bytes),
        };
        Issue::new(self.source, self.offset(), format!("Syntax error: mismatched input '{found}' expecting {expected}"))
    }

    fn node(&self, offset: usize, kind: Kind, parts: &[usize]) -> Parsed {
        let height = 1 + parts.iter().copied().max().unwrap_or(0);
        if height > MAX_DEPTH {
            return Err(self.too_deep(offset));
        }
        Ok(Tall { expr: Expr { id: 0, offset, kind }, height })
    }

    fn too_deep(&self, offset: usize) -> Issue {
        Issue::new(self.source, offset, format!("expression recursion limit exceeded: {MAX_DEPTH}"))
    }

    /// `condition ? a : b` and everything that binds more strongly.
    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(self.too_deep(self.offset()));
        }
        let condition = self.logical(0)?;
        let offset = self.offset();
        let parsed = if self.takes("?") {
            let truthy = self.logical(0)?;
            self.expect(":")?;
            let falsy = self.expression()?;
            let heights = [condition.height, truthy.height, falsy.height];
            let args = vec![condition.expr, truthy.expr, falsy.expr];
            self.node(offset, Kind::call(op::CONDITIONAL, args), &heights)
        } else {
            Ok(condition)
        };
        self.depth -= 1;
        parsed
    }

    /// Chains of `||`, and within them of `&&`. They become balanced trees, so that long ones are not deep.
    fn logical(&mut self, level: usize) -> Parsed {
        let Some((symbol, function, _)) = op::BINARY.get(level).filter(|_| level < 2) else {
            return self.binary(4);
        };
        let mut terms = vec![self.logical(level + 1)?];
        let mut offsets = Vec::new();
        loop {
            let offset = self.offset();
            if !self.takes(symbol) {
                return self.balanced(function, terms, &offsets);
            }
            offsets.push(offset);
            terms.push(self.logical(level + 1)?);
        }
    }

    fn balanced(&self, function: &str, mut terms: Vec<Tall>, offsets: &[usize]) -> Parsed {
        if terms.len() == 1 {
            return terms.pop().ok_or_else(|| self.unexpected("expression"));
        }
        let middle = terms.len().div_ceil(2);
        let right = terms.split_off(middle);
        let left = self.balanced(function, terms, &offsets[..middle - 1])?;
        let right = self.balanced(function, right, &offsets[middle..])?;
        let heights = [left.height, right.height];
        self.node(offsets[middle - 1], Kind::call(function, vec![left.expr, right.expr]), &heights)
    }

    /// Relations, sums and products: left-associative, `strength` and stronger.
    fn binary(&mut self, strength: u8) -> Parsed {
        if strength > 6 {
            return self.unary();
        }
        let mut left = self.binary(strength + 1)?;
        loop {
            let offset = self.offset();
            let written = match self.peek() {
                Token::Symbol(symbol) => symbol,
                Token::Ident(name) if name == "in" => "in",
                _ => return Ok(left),
            };
            let found = op::BINARY.iter().find(|(symbol, _, binds)| *symbol == written && *binds == strength);
            let Some((_, function, _)) = found else { return Ok(left) };
            self.at += 1;
            let right = self.binary(strength + 1)?;
            let heights = [left.height, right.height];
            left = self.node(offset, Kind::call(function, vec![left.expr, right.expr]), &heights)?;
        }
    }

    fn unary(&mut self) -> Parsed {
        let offset = self.offset();
        for (symbol, function) in [("!", op::NOT), ("-", op::NEGATE)] {
            let mut count = 0;
            while matches!(self.peek(), Token::Symbol(found) if *found == symbol) {
                if symbol == "-" && count % 2 == 0 && self.negative_number_follows() {
                    break;
                }
                self.at += 1;
                count += 1;
            }
            if count > 0 {
                let operand = self.member()?;
                // Pairs of signs cancel each other.
                if count % 2 == 0 {
                    return Ok(operand);
                }
                return self.node(offset, Kind::call(function, vec![operand.expr]), &[operand.height]);
            }
        }
        self.member()
    }

    /// At a minus before a number: a literal and no operator.
    fn negative_number_follows(&self) -> bool {
        matches!(self.tokens.get(self.at + 1).map(|next| &next.token), Some(Token::Int(_) | Token::Double(_)))
    }

    fn member(&mut self) -> Parsed {
        let mut left = self.primary()?;
        loop {
            let offset = self.offset();
            if self.takes(".") {
                left = self.selection(left, offset)?;
            } else if self.takes("[") {
                let function = if self.takes("?") { op::OPT_INDEX } else { op::INDEX };
                let index = self.expression()?;
                self.expect("]")?;
                let heights = [left.height, index.height];
                left = self.node(offset, Kind::call(function, vec![left.expr, index.expr]), &heights)?;
            } else {
                return Ok(left);
            }
        }
    }

    /// What follows a dot.
    fn selection(&mut self, operand: Tall, offset: usize) -> Parsed {
        let is_optional = self.takes("?");
        let name_offset = self.offset();
        let (name, is_quoted) = match self.advance() {
            Token::Ident(name) if !matches!(name.as_str(), "in" | "true" | "false" | "null") => (name, false),
            Token::Quoted(name) => (name, true),
            _ => {
                self.at -= 1;
                return Err(self.unexpected("IDENTIFIER"));
            }
        };
        if is_optional {
            let field = Expr { id: 0, offset: name_offset, kind: Kind::Literal(Literal::String(name)) };
            return self.node(offset, Kind::call(op::OPT_SELECT, vec![operand.expr, field]), &[operand.height]);
        }
        let open = self.offset();
        if !is_quoted && self.takes("(") {
            let (args, tallest) = self.arguments()?;
            let kind = Kind::Call { target: Some(Box::new(operand.expr)), function: name, args };
            return self.node(open, kind, &[operand.height, tallest]);
        }
        let kind = Kind::Select { operand: Box::new(operand.expr), field: name, test_only: false };
        self.node(offset, kind, &[operand.height])
    }

    /// Arguments up to and with the closing bracket, and the height of the tallest.
    fn arguments(&mut self) -> Result<(Vec<Expr>, usize), Issue> {
        let (mut args, mut tallest) = (Vec::new(), 0);
        if self.takes(")") {
            return Ok((args, tallest));
        }
        loop {
            let Tall { expr, height } = self.expression()?;
            args.push(expr);
            tallest = tallest.max(height);
            if !self.takes(",") {
                self.expect(")")?;
                return Ok((args, tallest));
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let offset = self.offset();
        match self.peek().clone() {
            Token::Symbol("(") => {
                self.at += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => self.list(),
            Token::Symbol("{") => self.map(),
            Token::Symbol("-") if self.negative_number_follows() => self.negative(),
            Token::Symbol(".") => {
                self.at += 1;
                match self.advance() {
                    Token::Ident(name) => self.name(format!(".{name}"), offset + 1),
                    _ => {
                        self.at -= 1;
                        Err(self.unexpected("IDENTIFIER"))
                    }
                }
            }
            Token::Ident(word) => {
                self.at += 1;
                match word.as_str() {
                    "true" => self.literal(offset, Literal::Bool(true)),
                    "false" => self.literal(offset, Literal::Bool(false)),
                    "null" => self.literal(offset, Literal::Null),
                    _ => self.name(word, offset),
                }
            }
            Token::Int(number) => {
                self.at += 1;
                let number = i64::try_from(number).map_err(|_| Issue::new(self.source, offset, "invalid int literal"))?;
                self.literal(offset, Literal::Int(number))
            }
            Token::Uint(number) => self.advanced_literal(offset, Literal::Uint(number)),
            Token::Double(number) => self.advanced_literal(offset, Literal::Double(number)),
            Token::String(text) => self.advanced_literal(offset, Literal::String(text)),
            Token::Bytes(bytes) => self.advanced_literal(offset, Literal::Bytes(bytes)),
            Token::Quoted(_) | Token::Symbol(_) | Token::End => Err(self.unexpected(
                "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
            )),
        }
    }

    fn literal(&self, offset: usize, literal: Literal) -> Parsed {
        self.node(offset, Kind::Literal(literal), &[])
    }

    fn advanced_literal(&mut self, offset: usize, literal: Literal) -> Parsed {
        self.at += 1;
        self.literal(offset, literal)
    }

    fn negative(&mut self) -> Parsed {
        let offset = self.offset();
        self.at += 1;
        match self.advance() {
            Token::Int(number) => {
                let number = 0i64.checked_sub_unsigned(number);
                let number = number.ok_or_else(|| Issue::new(self.source, offset, "invalid int literal"))?;
                self.literal(offset, Literal::Int(number))
            }
            Token::Double(number) => self.literal(offset, Literal::Double(-number)),
            _ => Err(self.unexpected("NUM_INT")),
        }
    }

    /// A variable, a call of a global function, or the literal of a struct `a.b.C{...}`.
    fn name(&mut self, name: String, offset: usize) -> Parsed {
        if let Some(struct_name) = self.struct_name(&name) {
            return self.structure(struct_name);
        }
        let plain = name.trim_start_matches('.');
        if RESERVED.contains(&plain) || ALSO_RESERVED.contains(&plain) {
            return Err(Issue::new(self.source, offset, format!("reserved identifier: {plain}")));
        }
        let open = self.offset();
        if self.takes("(") {
            let (args, tallest) = self.arguments()?;
            return self.node(open, Kind::Call { target: None, function: name, args }, &[tallest]);
        }
        self.node(offset, Kind::Ident(name), &[])
    }

    /// The dotted name that ends at the next opening brace, and the tokens up to it passed.
    fn struct_name(&mut self, first: &str) -> Option<String> {
        let mut name = first.to_string();
        let mut at = self.at;
        loop {
            match &self.tokens.get(at)?.token {
                Token::Symbol("{") => {
                    self.at = at;
                    return Some(name);
                }
                Token::Symbol(".") => match &self.tokens.get(at + 1)?.token {
                    Token::Ident(part) => name = format!("{name}.{part}"),
                    _ => return None,
                },
                _ => return None,
            }
            at += 2;
        }
    }

    fn structure(&mut self, name: String) -> Parsed {
        let offset = self.offset();
        self.expect("{")?;
        let (mut fields, mut tallest) = (Vec::new(), 0);
        while !self.takes("}") {
            let optional = self.takes("?");
            let offset = self.offset();
            let field_name = match self.advance() {
                Token::Ident(name) | Token::Quoted(name) => name,
                _ => {
                    self.at -= 1;
                    return Err(self.unexpected("IDENTIFIER"));
                }
            };
            let colon = self.offset();
            self.expect(":")?;
            let Tall { expr: value, height } = self.expression()?;
            tallest = tallest.max(height);
            fields.push(Field { offset: colon.max(offset), name: field_name, value, optional });
            if !self.takes(",") {
                self.expect("}")?;
                break;
            }
        }
        self.node(offset, Kind::Struct { name, fields }, &[tallest])
    }

    fn list(&mut self) -> Parsed {
        let offset = self.offset();
        self.expect("[")?;
        let (mut elements, mut tallest) = (Vec::new(), 0);
        while !self.takes("]") {
            let optional = self.takes("?");
            let Tall { expr, height } = self.expression()?;
            tallest = tallest.max(height);
            elements.push((expr, optional));
            if !self.takes(",") {
                self.expect("]")?;
                break;
            }
        }
        self.node(offset, Kind::List(elements), &[tallest])
    }

    fn map(&mut self) -> Parsed {
        let offset = self.offset();
        self.expect("{")?;
        let (mut entries, mut tallest) = (Vec::new(), 0);
        while !self.takes("}") {
            let optional = self.takes("?");
            let key = self.expression()?;
            self.expect(":")?;
            let value = self.expression()?;
            tallest = tallest.max(key.height).max(value.height);
            entries.push(Entry { key: key.expr, value: value.expr, optional });
            if !self.takes(",") {
                self.expect("}")?;
                break;
            }
        }
        self.node(offset, Kind::Map(entries), &[tallest])
    }
}
