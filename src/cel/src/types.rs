//! The types of CEL, as declared and as found by the checker.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Whatever the value turns out to be.
    Dyn,
    /// Of an expression with an issue already told.
    Error,
    /// Of `null`.
    Null,
    /// `bool`
    Bool,
    /// 64 bits with a sign.
    Int,
    /// 64 bits without.
    Uint,
    /// 64-bit floating point.
    Double,
    /// Unicode text.
    String,
    /// Any bytes.
    Bytes,
    /// A span of time.
    Duration,
    /// A moment.
    Timestamp,
    /// Elements of one type.
    List(Arc<Type>),
    /// Keys of one type, values of one type.
    Map(Arc<(Type, Type)>),
    /// A value or none.
    Optional(Arc<Type>),
    /// A type as a value.
    Type(Option<Arc<Type>>),
    /// An object with known fields.
    Object(Arc<ObjectType>),
    /// Known by its name and functions alone: `net.IP`, `kubernetes.Quantity`.
    Opaque(&'static str),
    /// To be found out: a parameter of an overload, the elements of `[]`.
    Var(usize),
}

/// The fields of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectType {
    /// Told in messages; two types of one name are the same.
    pub name: Arc<str>,
    /// Fields by the name that expressions use.
    pub fields: BTreeMap<String, Type>,
    /// Every field is there, with any value: `Object` of mutations.
    pub is_open: bool,
}

/// `kubernetes.Quantity` and its kin: opaque types with their names, and whether `null` may stand for them.
pub(crate) const OPAQUE: [(&str, bool); 11] = [
    ("net.IP", true),
    ("net.CIDR", true),
    ("kubernetes.URL", true),
    ("kubernetes.Quantity", true),
    ("kubernetes.Semver", true),
    ("kubernetes.NamedFormat", true),
    ("kubernetes.authorization.Authorizer", true),
    ("kubernetes.authorization.PathCheck", true),
    ("kubernetes.authorization.GroupCheck", true),
    ("kubernetes.authorization.ResourceCheck", true),
    ("kubernetes.authorization.Decision", true),
];

impl Type {
    /// A list of `element`.
    pub fn list(element: Type) -> Self {
        Self::List(Arc::new(element))
    }

    /// A map.
    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    /// A value that may be missing.
    pub fn optional(value: Type) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// An object with these fields.
    pub fn object<'n>(name: &str, fields: impl IntoIterator<Item = (&'n str, Type)>) -> Self {
        let fields = fields.into_iter().map(|(name, type_)| (name.to_string(), type_)).collect();
        Self::Object(Arc::new(ObjectType { name: name.into(), fields, is_open: false }))
    }

    /// How many types are within each other.
    pub fn height(&self) -> usize {
        1 + match self {
            Self::List(inner) | Self::Optional(inner) | Self::Type(Some(inner)) => inner.height(),
            Self::Map(parts) => parts.0.height().max(parts.1.height()),
            _ => 0,
        }
    }

    /// The name of the type as a value: `int`, `list`, `google.protobuf.Timestamp`.
    pub(crate) fn runtime_name(&self) -> &str {
        match self {
            Self::Dyn | Self::Error | Self::Var(_) => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Object(object) => &object.name,
            Self::Opaque(name) => name,
        }
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// The type within an optional, and whether it is one.
    pub(crate) fn unwrap_optional(&self) -> (&Type, bool) {
        match self {
            Self::Optional(inner) => (inner, true),
            other => (other, false),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("!error!"),
            Self::Null => f.write_str("null"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(parts) => write!(f, "map({}, {})", parts.0, parts.1),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            Self::Type(Some(inner)) => write!(f, "type({inner})"),
            Self::Var(index) => write!(f, "_var{index}"),
            other => f.write_str(other.runtime_name()),
        }
    }
}

/// What is known of type variables while an expression is checked.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    bound: Vec<Option<Type>>,
    /// What variables were before, to take back what a failed attempt learnt.
    trail: Vec<(usize, Option<Type>)>,
}

impl Bindings {
    pub fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Var(self.bound.len() - 1)
    }

    fn find(&self, type_: &Type) -> Option<&Type> {
        match type_ {
            Type::Var(index) => self.bound.get(*index)?.as_ref(),
            _ => None,
        }
    }

    fn bind(&mut self, variable: &Type, to: &Type) {
        if let Type::Var(index) = variable
            && let Some(slot) = self.bound.get_mut(*index)
        {
            self.trail.push((*index, slot.replace(to.clone())));
        }
    }

    /// The type with everything known put in; what is unknown becomes `dyn` where asked.
    pub fn substitute(&self, type_: &Type, unknown_to_dyn: bool) -> Type {
        if let Some(found) = self.find(type_) {
            return self.substitute(found, unknown_to_dyn);
        }
        let inner = |type_: &Type| self.substitute(type_, unknown_to_dyn);
        match type_ {
            Type::Var(_) if unknown_to_dyn => Type::Dyn,
            Type::List(element) => Type::list(inner(element)),
            Type::Map(parts) => Type::map(inner(&parts.0), inner(&parts.1)),
            Type::Optional(value) => Type::optional(inner(value)),
            Type::Type(Some(value)) => Type::Type(Some(Arc::new(inner(value)))),
            other => other.clone(),
        }
    }

    /// Whether one may stand for the other; learns what variables are where it does.
    pub fn assignable(&mut self, left: &Type, right: &Type) -> bool {
        let fits = self.unify(left, right);
        self.settle(fits);
        fits
    }

    /// As [`Self::assignable`], for all pairs or none.
    pub fn all_assignable(&mut self, left: &[Type], right: &[Type]) -> bool {
        let fits = left.len() == right.len() && left.iter().zip(right).all(|(left, right)| self.unify(left, right));
        self.settle(fits);
        fits
    }

    fn settle(&mut self, keep: bool) {
        while let Some((index, before)) = self.trail.pop() {
            if !keep && let Some(slot) = self.bound.get_mut(index) {
                *slot = before;
            }
        }
    }

    fn unify(&mut self, left: &Type, right: &Type) -> bool {
        if matches!(right, Type::Var(_)) {
            let (fits, was_bound) = self.unify_variable(left, right);
            if fits || was_bound {
                return fits;
            }
        }
        if matches!(left, Type::Var(_)) {
            return self.unify_variable(right, left).0;
        }
        match (left, right) {
            (left, right) if left.is_dyn_or_error() || right.is_dyn_or_error() => true,
            (Type::Null, other) | (other, Type::Null) => takes_null(other),
            (Type::List(left), Type::List(right)) | (Type::Optional(left), Type::Optional(right)) => {
                self.unify(left, right)
            }
            (Type::Map(left), Type::Map(right)) => self.unify(&left.0, &right.0) && self.unify(&left.1, &right.1),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::Object(left), Type::Object(right)) => left.name == right.name,
            (left, right) => left == right,
        }
    }

    /// Whether it fits, and whether the variable was bound before.
    fn unify_variable(&mut self, type_: &Type, variable: &Type) -> (bool, bool) {
        if type_ == variable {
            return (true, true);
        }
        if let Some(bound) = self.find(variable).cloned() {
            if *type_ == bound {
                return (true, true);
            }
            if self.unify(type_, &bound) {
                let general = if is_less_specific(type_, &bound) { type_ } else { &bound };
                if self.is_free_of(variable, general) {
                    self.bind(variable, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.is_free_of(variable, type_) {
            self.bind(variable, type_);
            return (true, false);
        }
        (false, false)
    }

    /// The type does not contain the variable.
    fn is_free_of(&self, variable: &Type, type_: &Type) -> bool {
        if variable == type_ {
            return false;
        }
        match type_ {
            Type::Var(_) => self.find(type_).is_none_or(|bound| self.is_free_of(variable, bound)),
            Type::List(inner) | Type::Optional(inner) | Type::Type(Some(inner)) => self.is_free_of(variable, inner),
            Type::Map(parts) => self.is_free_of(variable, &parts.0) && self.is_free_of(variable, &parts.1),
            _ => true,
        }
    }
}

fn takes_null(type_: &Type) -> bool {
    match type_ {
        Type::Null | Type::Object(_) | Type::Optional(_) | Type::Duration | Type::Timestamp => true,
        Type::Opaque(name) => OPAQUE.iter().any(|(known, nullable)| known == name && *nullable),
        _ => false,
    }
}

/// The left one says no more than the right one.
pub(crate) fn is_less_specific(left: &Type, right: &Type) -> bool {
    match (left, right) {
        (Type::Dyn | Type::Var(_), _) => true,
        (_, Type::Dyn | Type::Var(_)) => false,
        (Type::List(left), Type::List(right)) | (Type::Optional(left), Type::Optional(right)) => {
            is_less_specific(left, right)
        }
        (Type::Map(left), Type::Map(right)) => {
            is_less_specific(&left.0, &right.0) && is_less_specific(&left.1, &right.1)
        }
        (Type::Type(_), Type::Type(_)) => true,
        (left, right) => left == right,
    }
}
