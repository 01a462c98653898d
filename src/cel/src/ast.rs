//! The tree of an expression: what the parser makes, the checker annotates and the planner walks.
//!
//! Operators are calls of functions with the names that CEL gives them (`_+_`, `_&&_`, `_?_:_`, `@in`). Macros are
//! ordinary calls until [`crate::macros`] expands them.

/// A node: its identity (dense from 0, the key of types and sizes), where it is in the source, and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub id: usize,
    /// Code points before the node's own token.
    pub offset: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Literal(Literal),
    /// A name; with a leading dot where it was written so.
    Ident(String),
    /// `operand.field`; `has(operand.field)` where `test_only`.
    Select {
        operand: Box<Expr>,
        field: String,
        test_only: bool,
    },
    Call {
        target: Option<Box<Expr>>,
        function: String,
        args: Vec<Expr>,
    },
    /// Elements, each with whether it was written `[?element]`.
    List(Vec<(Expr, bool)>),
    Map(Vec<Entry>),
    Struct {
        name: String,
        fields: Vec<Field>,
    },
    Comprehension(Box<Comprehension>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub offset: usize,
    pub name: String,
    pub value: Expr,
    pub optional: bool,
}

/// What a macro over lists and maps becomes: `result` after `step` for each element while `condition` holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comprehension {
    pub range: Expr,
    pub var: String,
    pub var2: Option<String>,
    pub accu: String,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

/// Two trees are equal where they say the same; identities and places are not compared.
impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// The accumulator of macros; no identifier of a user can be spelt so.
pub(crate) const ACCUMULATOR: &str = "@result";

/// Names of the operators' functions.
pub(crate) mod op {
    pub const AND: &str = "_&&_";
    pub const OR: &str = "_||_";
    pub const NOT: &str = "!_";
    pub const NEGATE: &str = "-_";
    pub const CONDITIONAL: &str = "_?_:_";
    pub const ADD: &str = "_+_";
    pub const EQUALS: &str = "_==_";
    pub const NOT_EQUALS: &str = "_!=_";
    pub const IN: &str = "@in";
    pub const INDEX: &str = "_[_]";
    pub const OPT_INDEX: &str = "_[?_]";
    pub const OPT_SELECT: &str = "_?._";
    pub const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
    /// Puts an entry into the map that a macro builds.
    pub const MAP_INSERT: &str = "cel.@mapInsert";

    /// Binary operators as written, their functions, and how strongly they bind.
    pub const BINARY: [(&str, &str, u8); 14] = [
        ("||", OR, 2),
        ("&&", AND, 3),
        ("<", "_<_", 4),
        ("<=", "_<=_", 4),
        (">=", "_>=_", 4),
        (">", "_>_", 4),
        ("==", EQUALS, 4),
        ("!=", NOT_EQUALS, 4),
        ("in", IN, 4),
        ("+", ADD, 5),
        ("-", "_-_", 5),
        ("*", "_*_", 6),
        ("/", "_/_", 6),
        ("%", "_%_", 6),
    ];
}

impl Kind {
    pub fn call(function: &str, args: Vec<Expr>) -> Self {
        Self::Call { target: None, function: function.to_string(), args }
    }
}

impl Expr {
    /// `a.b.c` as a dotted name, where it is nothing but names.
    pub fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select { operand, field, test_only: false } => Some(format!("{}.{field}", operand.qualified_name()?)),
            _ => None,
        }
    }

    /// Every direct part of the node.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            Kind::Literal(_) | Kind::Ident(_) => Vec::new(),
            Kind::Select { operand, .. } => vec![operand],
            Kind::Call { target, args, .. } => {
                target.iter_mut().map(|target| &mut **target).chain(args.iter_mut()).collect()
            }
            Kind::List(elements) => elements.iter_mut().map(|(element, _)| element).collect(),
            Kind::Map(entries) => entries.iter_mut().flat_map(|entry| [&mut entry.key, &mut entry.value]).collect(),
            Kind::Struct { fields, .. } => fields.iter_mut().map(|field| &mut field.value).collect(),
            Kind::Comprehension(fold) => {
                let Comprehension { range, init, condition, step, result, .. } = &mut **fold;
                vec![range, init, condition, step, result]
            }
        }
    }
}
