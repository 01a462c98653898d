//! What expressions may refer to, and compiling them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::allowance::Allowance;
use crate::decl::Decl;
use crate::error::CompileError;
use crate::functions::FUNCTIONS;
use crate::program::Program;
use crate::source::{Issue, Issues};
use crate::types::{OPAQUE, ObjectType, Type};
use crate::{checker, estimate, literals, macros, parser, plan};

/// Variables and the functions of Kubernetes.
///
/// The functions are those of Kubernetes 1.37: CEL's own, and the libraries for strings, lists, regular expressions,
/// URLs, addresses, quantities, versions, formats, sets and authorization, two-variable comprehensions and optional
/// values; besides `cel.bind` and `math`.
#[derive(Debug, Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, Variable>,
    mutates: bool,
    allowance: Option<Allowance>,
}

#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub type_: Type,
    pub decl: Option<Arc<Decl>>,
}

impl Env {
    /// Without variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variable of a type. A name with dots is a variable too and is found before fields are looked at.
    #[must_use]
    pub fn with_variable(mut self, name: &str, type_: Type) -> Self {
        self.variables.insert(name.to_string(), Variable { type_, decl: None });
        self
    }

    /// Without a variable.
    #[must_use]
    pub fn without_variable(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// With a variable that a schema describes: its type, and how large it can be.
    #[must_use]
    pub fn with_declared(mut self, name: &str, decl: Arc<Decl>) -> Self {
        // Both `self` and `oldSelf` are of the same type, and may be compared.
        let type_ = decl.own_type();
        self.variables.insert(name.to_string(), Variable { type_, decl: Some(decl) });
        self
    }

    /// With a variable of a type whose sizes a schema tells: what no schema can name has its own types, such as
    /// `kubernetes.Quantity`.
    #[must_use]
    pub fn with_sized(mut self, name: &str, type_: Type, sizes: Arc<Decl>) -> Self {
        self.variables.insert(name.to_string(), Variable { type_, decl: Some(sizes) });
        self
    }

    /// With a variable that is an optional of what a schema describes.
    #[must_use]
    pub fn with_optional_declared(mut self, name: &str, decl: &Decl) -> Self {
        let type_ = Type::optional(decl.own_type());
        self.variables.insert(name.to_string(), Variable { type_, decl: None });
        self
    }

    /// With `Object{...}`, `JSONPatch{...}` and `jsonpatch.escapeKey`, which mutating policies make.
    #[must_use]
    pub fn with_mutations(mut self) -> Self {
        self.mutates = true;
        self
    }

    /// What is compiled with this environment, and with those made of it, takes of a budget. Without one every
    /// expression is bounded for itself.
    #[must_use]
    pub fn with_allowance(mut self, allowance: Allowance) -> Self {
        self.allowance = Some(allowance);
        self
    }

    pub(crate) fn allowance(&self) -> Option<&Allowance> {
        self.allowance.as_ref()
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name)
    }

    pub(crate) fn variable_type(&self, name: &str) -> Option<Type> {
        if let Some(variable) = self.variables.get(name) {
            return Some(variable.type_.clone());
        }
        let type_ = type_by_name(name).or_else(|| self.struct_type(name))?;
        Some(Type::Type(Some(Arc::new(type_))))
    }

    pub(crate) fn is_variable(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    pub(crate) fn has_function(&self, name: &str) -> bool {
        FUNCTIONS.contains_key(name) && !name.starts_with('@') && (self.mutates || name != "jsonpatch.escapeKey")
            || matches!(name, "@in" | "@not_strictly_false" | "@sortByAssociatedKeys")
    }

    /// The type that a struct literal makes.
    pub(crate) fn struct_type(&self, name: &str) -> Option<Type> {
        let object = |fields: Vec<(&str, Type)>, is_open| {
            let fields = fields.into_iter().map(|(name, type_)| (name.to_string(), type_)).collect();
            Some(Type::Object(Arc::new(ObjectType { name: name.into(), fields, is_open })))
        };
        match name {
            "Object" if self.mutates => object(Vec::new(), true),
            "JSONPatch" if self.mutates => {
                let text = || Type::String;
                object(vec![("op", text()), ("path", text()), ("from", text()), ("value", Type::Dyn)], false)
            }
            _ if self.mutates && name.starts_with("Object.") => object(Vec::new(), true),
            _ => None,
        }
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// With every issue found, each with its place, as cel-go words them.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let issues = |found| CompileError::Issues(Issues(found));
        let mut expr = parser::parse(source).map_err(|issue| issues(vec![issue]))?;
        let size = macros::expand(source, &mut expr).map_err(issues)?;
        if let Some(allowance) = &self.allowance {
            allowance.take_nodes(size.nodes).map_err(|why| issues(vec![Issue::new(source, 0, why)]))?;
        }
        let checked = checker::check(self, source, expr, size.nodes).map_err(issues)?;
        let checked = literals::validate(source, checked).map_err(issues)?;
        let estimated = estimate::estimate(self, &checked);
        let program = plan::plan(self, source, checked).map_err(|issue| issues(vec![issue]))?;
        Ok(Program { estimated_cost: estimated, height: size.height, ..program })
    }

    /// Compiles an expression that must have one of these types; `dyn` is decided when it is evaluated.
    ///
    /// # Errors
    /// As [`Self::compile`], and where its type is none of them.
    pub fn compile_to(&self, source: &str, expected: &[Type]) -> Result<Program, CompileError> {
        let program = self.compile(source)?;
        if expected.contains(program.result_type()) || *program.result_type() == Type::Dyn {
            return Ok(program);
        }
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        Err(CompileError::Result { expected: expected.join(" or ") })
    }
}

/// Types that expressions may name.
fn type_by_name(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "null_type" => Type::Null,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "type" => Type::Type(None),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        _ => Type::Opaque(OPAQUE.iter().find(|(known, _)| *known == name)?.0),
    })
}
