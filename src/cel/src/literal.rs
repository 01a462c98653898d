//! What escapes in string and bytes literals stand for, and how texts are written as literals.

/// The text of a string literal.
pub(crate) fn unescape(text: &str) -> Result<String, String> {
    let mut unescaped = String::with_capacity(text.len());
    walk(text, |piece| match piece {
        Piece::Plain(character) => {
            unescaped.push(character);
            Ok(())
        }
        Piece::Byte(code) => {
            unescaped.push(char::from(code));
            Ok(())
        }
        Piece::Unicode(code) => {
            unescaped.push(char::from_u32(code).ok_or("unable to unescape string: invalid unicode code point")?);
            Ok(())
        }
    })?;
    Ok(unescaped)
}

/// The bytes of a bytes literal: `\x` and octal escapes are bytes and not code points.
pub(crate) fn unescape_bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut unescaped = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    walk(text, |piece| match piece {
        Piece::Plain(character) => {
            unescaped.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
            Ok(())
        }
        Piece::Byte(byte) => {
            unescaped.push(byte);
            Ok(())
        }
        Piece::Unicode(_) => Err("unable to unescape string: \\u and \\U are not allowed in bytes".to_string()),
    })?;
    Ok(unescaped)
}

enum Piece {
    Plain(char),
    /// `\x41`, `\101`
    Byte(u8),
    /// `\u0041`, `\U00000041`
    Unicode(u32),
}

fn walk(text: &str, mut each: impl FnMut(Piece) -> Result<(), String>) -> Result<(), String> {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first != '\\' {
            each(Piece::Plain(first))?;
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let escaped = rest[1..].chars().next().ok_or("unable to unescape string, found '\\' as last character")?;
        let (piece, length) = escape(escaped, &rest[1 + escaped.len_utf8()..])?;
        each(piece)?;
        rest = &rest[1 + escaped.len_utf8() + length..];
    }
    Ok(())
}

/// The meaning of an escape whose letter is `letter`, and how many bytes after the letter belong to it.
fn escape(letter: char, after: &str) -> Result<(Piece, usize), String> {
    let plain = |character| Ok((Piece::Plain(character), 0));
    let number =
        |digits: &str, radix| u32::from_str_radix(digits, radix).map_err(|_| "unable to unescape string".to_string());
    let hex = |length: usize| {
        let digits = after.get(..length).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        number(digits.ok_or("unable to unescape string: too few hexadecimal digits")?, 16)
    };
    match letter {
        'a' => plain('\u{7}'),
        'b' => plain('\u{8}'),
        'f' => plain('\u{c}'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\u{b}'),
        '\\' | '\'' | '"' | '`' | '?' => plain(letter),
        'x' | 'X' => Ok((Piece::Byte(hex(2)? as u8), 2)),
        'u' => Ok((Piece::Unicode(hex(4)?), 4)),
        'U' => Ok((Piece::Unicode(hex(8)?), 8)),
        '0'..='3' => {
            let digits = after.get(..2).filter(|digits| digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')));
            let digits = digits.ok_or("unable to unescape octal sequence in string")?;
            Ok((Piece::Byte((number(digits, 8)? + 64 * (letter as u32 - '0' as u32)) as u8), 2))
        }
        _ => Err(format!("unable to unescape string: invalid escape '\\{letter}'")),
    }
}

/// A string literal in double quotes.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// A bytes literal, every byte of which is an escape or printable ASCII.
pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from("b\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => quoted.push(char::from(*byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}
