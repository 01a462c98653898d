//! Links of pages that are proxied: one that begins at the root of the page's own server would lead to the root of this
//! one, and is led below the path that is proxied, as Kubernetes does it. A page is rewritten as it passes, of which no
//! more is held than the tag that is being read.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;

use crate::body::{Body, BoxError};

/// No tag of a page that people write is longer; from one that is on, a page passes as it is.
const TAG_BYTES_MAX: usize = 64 << 10;

/// The attributes that hold links, by the tags they are read in.
const LINKS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["formaction", "src", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// What ends a text in which tags are none.
const RAW: [(&str, &str); 9] = [
    ("iframe", "</iframe"),
    ("noembed", "</noembed"),
    ("noframes", "</noframes"),
    ("noscript", "</noscript"),
    ("script", "</script"),
    ("style", "</style"),
    ("textarea", "</textarea"),
    ("title", "</title"),
    ("xmp", "</xmp"),
];

/// Where a link leads; `None` where it stays.
pub type Lead = Box<dyn Fn(&str) -> Option<String> + Send>;

/// Rewrites an answer that is a page; others pass as they are.
pub fn settle(response: Response<Body>, lead: Lead) -> Response<Body> {
    let headers = response.headers();
    let is_page = headers.get(CONTENT_TYPE).is_some_and(|type_| type_.as_bytes().starts_with(b"text/html"));
    // Of a part nobody knows where it begins, and what is packed cannot be read as it passes.
    if !is_page || headers.contains_key(CONTENT_ENCODING) || response.status() == StatusCode::PARTIAL_CONTENT {
        return response;
    }
    let (mut parts, inner) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Page { inner, links: Some(Links::new(lead)) }.boxed_unsync())
}

/// A page that comes in these pieces, rewritten.
pub fn rewritten<'a>(pieces: impl Iterator<Item = &'a [u8]>, lead: Lead) -> Vec<u8> {
    let mut links = Links::new(lead);
    let mut out: Vec<u8> = pieces.flat_map(|piece| links.feed(piece)).collect();
    out.extend_from_slice(&links.held);
    out
}

/// The body of a page; its links are gone when its end has been sent.
struct Page {
    inner: Body,
    links: Option<Links>,
}

impl http_body::Body for Page {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let frame = match std::task::ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let rest = self.links.take().map(|links| links.held).filter(|rest| !rest.is_empty());
                    return Poll::Ready(rest.map(|rest| Ok(Frame::data(rest.into()))));
                }
            };
            // Trailers cannot be kept until the rest of a page that ends within a tag is sent.
            let Ok(data) = frame.into_data() else { continue };
            let Some(links) = &mut self.links else { continue };
            let out = links.feed(&data);
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
    }
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Text, in which tags begin.
    Text,
    /// Anything up to and with these bytes.
    Until(&'static str),
    /// Anything at all.
    Through,
}

struct Links {
    lead: Lead,
    state: State,
    /// What has come and is not understood yet.
    held: Vec<u8>,
    /// How far the tag has been read with which `held` begins. However small the pieces that a page comes in, each byte
    /// of a tag is read once.
    tag: Option<Tag>,
}

impl Links {
    fn new(lead: Lead) -> Self {
        Self { lead, state: State::Text, held: Vec::new(), tag: None }
    }

    /// Takes more of the page; answers what of it is done.
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        if let Some(tag) = &mut self.tag
            && !tag.read(&self.held)
            && self.held.len() <= TAG_BYTES_MAX
        {
            return Vec::new();
        }
        let held = std::mem::take(&mut self.held);
        let mut out = Vec::with_capacity(held.len());
        let mut at = 0;
        while at < held.len() {
            let rest = &held[at..];
            let used = match self.state {
                State::Through => keep(&mut out, rest, rest.len()),
                State::Until(end) => match find(rest, end) {
                    Some(found) => {
                        self.state = State::Text;
                        keep(&mut out, rest, found + end.len())
                    }
                    // The end may come in two pieces.
                    None => keep(&mut out, rest, rest.len().saturating_sub(end.len() - 1)),
                },
                State::Text if rest[0] != b'<' => {
                    let next = rest.iter().position(|byte| *byte == b'<');
                    keep(&mut out, rest, next.unwrap_or(rest.len()))
                }
                State::Text => self.tag(rest, &mut out),
            };
            if used == 0 && self.state != State::Through {
                break;
            }
            at += used;
        }
        self.held = held[at..].to_vec();
        out
    }

    /// Reads what begins with `<`. Answers how much of it is done: nothing, where its end has not come yet.
    fn tag(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        const COMMENT: &[u8] = b"<!--";
        if rest.len() < COMMENT.len() && COMMENT.starts_with(rest) {
            return 0;
        }
        if rest.starts_with(COMMENT) {
            self.state = State::Until("-->");
            return keep(out, rest, COMMENT.len());
        }
        if !rest[1].is_ascii_alphabetic() {
            return keep(out, rest, 1);
        }
        let mut tag = self.tag.take().unwrap_or_default();
        if !tag.read(rest) {
            if rest.len() > TAG_BYTES_MAX {
                self.state = State::Through;
            } else {
                self.tag = Some(tag);
            }
            return 0;
        }
        let name = String::from_utf8_lossy(&rest[1..tag.name_end]).to_ascii_lowercase();
        let linking = LINKS.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, attributes)| attributes);
        let mut at = 0;
        for (attribute, value) in &tag.attributes {
            let is_link = linking.iter().any(|known| rest[attribute.clone()].eq_ignore_ascii_case(known.as_bytes()));
            let text = std::str::from_utf8(&rest[value.clone()]).ok().filter(|_| is_link);
            if let Some(led) = text.and_then(|text| (self.lead)(text)) {
                out.extend_from_slice(&rest[at..value.start]);
                out.extend_from_slice(led.as_bytes());
                at = value.end;
            }
        }
        out.extend_from_slice(&rest[at..tag.at]);
        if let Some((_, end)) = RAW.iter().find(|(known, _)| *known == name) {
            self.state = State::Until(end);
        }
        tag.at
    }
}

/// Where in a tag the next byte is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Part {
    /// In the element's name.
    #[default]
    Name,
    /// Before an attribute or the tag's end.
    Between,
    /// In the name of an attribute that began there.
    Attribute(usize),
    /// Behind the name of an attribute, which may have a value.
    Named(Range<usize>),
    /// Behind the equals sign of an attribute.
    Equals(Range<usize>),
    /// In a value that began there and ends with this byte.
    Quoted(Range<usize>, usize, u8),
    /// In a value without quotes that began there.
    Bare(Range<usize>, usize),
    /// Behind its end.
    Done,
}

/// A tag that begins an element: where in the text its parts are, of as much as has come.
#[derive(Debug, Default)]
struct Tag {
    name_end: usize,
    attributes: Vec<(Range<usize>, Range<usize>)>,
    /// Everything before has been read; where it is done, the tag ends here.
    at: usize,
    part: Part,
}

impl Tag {
    /// Reads on in a text that begins with the tag, and with what was read of it before. Whether its end has come.
    fn read(&mut self, text: &[u8]) -> bool {
        while self.part != Part::Done
            && let Some(byte) = text.get(self.at)
        {
            self.step(*byte);
            self.at += 1;
        }
        self.part == Part::Done
    }

    fn step(&mut self, byte: u8) {
        let (at, is_space) = (self.at, byte.is_ascii_whitespace());
        // What comes between attributes and ends the tag or begins the next of them.
        let between = || match byte {
            b'>' => Part::Done,
            b'/' => Part::Between,
            _ if is_space => Part::Between,
            // A name may begin with the sign that ends it.
            _ => Part::Attribute(at),
        };
        self.part = match std::mem::take(&mut self.part) {
            Part::Name if is_space || matches!(byte, b'/' | b'>') => {
                self.name_end = at;
                between()
            }
            Part::Name => Part::Name,
            Part::Between => between(),
            Part::Attribute(start) if is_space => Part::Named(start..at),
            Part::Attribute(start) => match byte {
                b'=' => Part::Equals(start..at),
                b'/' | b'>' => between(),
                _ => Part::Attribute(start),
            },
            Part::Named(name) if is_space => Part::Named(name),
            Part::Named(name) if byte == b'=' => Part::Equals(name),
            Part::Named(_) => between(),
            Part::Equals(name) if is_space => Part::Equals(name),
            Part::Equals(name) => match byte {
                b'"' | b'\'' => Part::Quoted(name, at + 1, byte),
                b'>' => self.attribute(name, at..at, Part::Done),
                _ => Part::Bare(name, at),
            },
            Part::Quoted(name, start, quote) if byte == quote => self.attribute(name, start..at, Part::Between),
            Part::Bare(name, start) if is_space => self.attribute(name, start..at, Part::Between),
            Part::Bare(name, start) if byte == b'>' => self.attribute(name, start..at, Part::Done),
            part => part,
        };
    }

    fn attribute(&mut self, name: Range<usize>, value: Range<usize>, then: Part) -> Part {
        self.attributes.push((name, value));
        then
    }
}

fn keep(out: &mut Vec<u8>, from: &[u8], size: usize) -> usize {
    out.extend_from_slice(&from[..size]);
    size
}

/// Where `what`, in lower-case letters, is in a text of any.
fn find(text: &[u8], what: &str) -> Option<usize> {
    text.windows(what.len()).position(|window| window.eq_ignore_ascii_case(what.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(pieces: &[&[u8]]) -> String {
        let lead = |link: &str| link.starts_with('/').then(|| format!("/p{link}"));
        String::from_utf8(super::rewritten(pieces.iter().copied(), Box::new(lead))).expect("text")
    }

    // conformance: links of pages that are proxied lead below their proxy
    #[test]
    fn links_of_pages_lead_below_their_proxy() {
        for (page, expected) in [
            (r#"<a href="/rewriteme">test</a>"#, r#"<a href="/p/rewriteme">test</a>"#),
            (r#"<A class=x HREF='/y' >"#, r#"<A class=x HREF='/p/y' >"#),
            ("<img src=/i.png usemap=/m>", "<img src=/p/i.png usemap=/p/m>"),
            (r#"<link rel = icon href = "/i"/>"#, r#"<link rel = icon href = "/p/i"/>"#),
            (r#"<a href="relative">"#, r#"<a href="relative">"#),
            (r#"<a title="<a href='/x'>" href="/y">"#, r#"<a title="<a href='/x'>" href="/p/y">"#),
            (r#"<a title=it's href="/y">"#, r#"<a title=it's href="/p/y">"#),
            (r#"<p href="/x"> 1 < 2 <a =href="/x" href>"#, r#"<p href="/x"> 1 < 2 <a =href="/x" href>"#),
            (r#"<!-- <a href="/x"> --><a href="/y">"#, r#"<!-- <a href="/x"> --><a href="/p/y">"#),
            (
                r#"<script src="/s">"<a href='/x'>"</SCRIPT><a href="/y">"#,
                r#"<script src="/p/s">"<a href='/x'>"</SCRIPT><a href="/p/y">"#,
            ),
            (r#"<a href="/unended"#, r#"<a href="/unended"#),
            ("<", "<"),
        ] {
            assert_eq!(rewritten(&[page.as_bytes()]), expected);
            let bytes: Vec<&[u8]> = page.as_bytes().chunks(1).collect();
            assert_eq!(rewritten(&bytes), expected, "byte by byte");
        }
    }

    #[test]
    fn a_tag_without_an_end_is_not_held_for_ever() {
        let endless = [b"<a ".as_slice(), &vec![b'x'; TAG_BYTES_MAX]].concat();
        let lead = |_: &str| Some("/never".to_string());
        let mut links = Links::new(Box::new(lead));
        assert_eq!(links.feed(&endless[..TAG_BYTES_MAX]), b"");
        assert_eq!(links.feed(&endless[TAG_BYTES_MAX..]), endless);
        assert_eq!(links.feed(br#"<a href="/x">"#), br#"<a href="/x">"#);
        assert!(links.held.is_empty());
    }

    /// A page may come byte by byte, and what reads it then must not read it from its beginning each time: of a tag of
    /// the largest size that would be two thousand million bytes.
    #[test]
    fn a_long_tag_that_comes_byte_by_byte_is_read_once() {
        let long = [b"<a title=\"".as_slice(), &vec![b'x'; TAG_BYTES_MAX - 32], b"\" href=/y>".as_slice()].concat();
        let lead = |link: &str| Some(format!("/p{link}"));
        let mut links = Links::new(Box::new(lead));
        for byte in &long[..long.len() - 1] {
            assert!(links.feed(&[*byte]).is_empty());
            assert_eq!(
                links.tag.as_ref().map_or(0, |tag| tag.at),
                if links.held.len() < 2 { 0 } else { links.held.len() }
            );
        }
        let whole = links.feed(b">");
        assert!(whole.ends_with(b"\" href=/p/y>") && whole.len() == long.len() + 2);
    }
}
