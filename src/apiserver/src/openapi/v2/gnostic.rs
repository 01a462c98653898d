//! gnostic's protobuf form of an OpenAPI 2 document (`openapi.v2` of google/gnostic), as far as our documents use
//! it. Maps are lists of named values there, and what has no form of its own is YAML text.

// Every message is named after its message there, and so are its fields.
#![allow(missing_docs)]

use prost::Message;
use serde_json::{Map, Value};

#[derive(Clone, PartialEq, Message)]
pub struct Document {
    #[prost(string, tag = "1")]
    pub swagger: String,
    #[prost(message, optional, tag = "2")]
    pub info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    pub paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    pub definitions: Option<Definitions>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Info {
    #[prost(string, tag = "1")]
    pub title: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "2")]
    pub yaml: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamedAny {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Definitions {
    #[prost(message, repeated, tag = "1")]
    pub additional_properties: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamedSchema {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Schema {
    #[prost(string, tag = "1")]
    pub reference: String,
    #[prost(string, tag = "2")]
    pub format: String,
    #[prost(string, tag = "4")]
    pub description: String,
    #[prost(message, optional, tag = "5")]
    pub default: Option<Any>,
    #[prost(string, repeated, tag = "19")]
    pub required: Vec<String>,
    #[prost(message, repeated, tag = "20")]
    pub enumeration: Vec<Any>,
    #[prost(message, optional, boxed, tag = "21")]
    pub additional_properties: Option<Box<AdditionalPropertiesItem>>,
    #[prost(message, optional, tag = "22")]
    pub types: Option<TypeItem>,
    #[prost(message, optional, tag = "23")]
    pub items: Option<ItemsItem>,
    #[prost(message, optional, tag = "25")]
    pub properties: Option<Definitions>,
    #[prost(message, repeated, tag = "31")]
    pub vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
pub struct AdditionalPropertiesItem {
    #[prost(message, optional, boxed, tag = "1")]
    pub schema: Option<Box<Schema>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TypeItem {
    #[prost(string, repeated, tag = "1")]
    pub value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ItemsItem {
    #[prost(message, repeated, tag = "1")]
    pub schema: Vec<Schema>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Paths {
    #[prost(message, repeated, tag = "2")]
    pub path: Vec<NamedPathItem>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamedPathItem {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<PathItem>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PathItem {
    #[prost(message, optional, tag = "2")]
    pub get: Option<Operation>,
    #[prost(message, optional, tag = "3")]
    pub put: Option<Operation>,
    #[prost(message, optional, tag = "4")]
    pub post: Option<Operation>,
    #[prost(message, optional, tag = "5")]
    pub delete: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    pub patch: Option<Operation>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Operation {
    #[prost(string, repeated, tag = "1")]
    pub tags: Vec<String>,
    #[prost(string, tag = "3")]
    pub description: String,
    #[prost(string, tag = "5")]
    pub operation_id: String,
    #[prost(string, repeated, tag = "6")]
    pub produces: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    pub consumes: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    pub parameters: Vec<ParametersItem>,
    #[prost(message, optional, tag = "9")]
    pub responses: Option<Responses>,
    #[prost(message, repeated, tag = "13")]
    pub vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    pub parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Parameter {
    #[prost(message, optional, tag = "1")]
    pub body: Option<BodyParameter>,
    #[prost(message, optional, tag = "2")]
    pub other: Option<NonBodyParameter>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BodyParameter {
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub place: String,
    #[prost(bool, tag = "4")]
    pub required: bool,
    #[prost(message, optional, tag = "5")]
    pub schema: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NonBodyParameter {
    #[prost(message, optional, tag = "3")]
    pub query: Option<QueryParameter>,
}

#[derive(Clone, PartialEq, Message)]
pub struct QueryParameter {
    #[prost(string, tag = "2")]
    pub place: String,
    #[prost(string, tag = "3")]
    pub description: String,
    #[prost(string, tag = "4")]
    pub name: String,
    #[prost(string, tag = "6")]
    pub type_name: String,
    #[prost(bool, tag = "20")]
    pub unique_items: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Responses {
    #[prost(message, repeated, tag = "1")]
    pub response_code: Vec<NamedResponseValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamedResponseValue {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<ResponseValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResponseValue {
    #[prost(message, optional, tag = "1")]
    pub response: Option<Response>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Response {
    #[prost(string, tag = "1")]
    pub description: String,
    #[prost(message, optional, tag = "2")]
    pub schema: Option<SchemaItem>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SchemaItem {
    #[prost(message, optional, tag = "1")]
    pub schema: Option<Schema>,
}

impl Document {
    /// The same document.
    pub fn from_json(document: &Value) -> Self {
        Self {
            swagger: text(document, "swagger"),
            info: Some(Info { title: text(&document["info"], "title"), version: text(&document["info"], "version") }),
            paths: Some(Paths {
                path: members(&document["paths"])
                    .map(|(name, item)| NamedPathItem { name: name.clone(), value: Some(PathItem::from_json(item)) })
                    .collect(),
            }),
            definitions: Some(Definitions::from_json(&document["definitions"])),
        }
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_string()
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    value[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(ToString::to_string).collect()
}

/// JSON is YAML; a line break ends it as gnostic's own writer does.
fn yaml(value: &Value) -> Any {
    Any { yaml: format!("{value}\n") }
}

fn extensions(value: &Value) -> Vec<NamedAny> {
    members(value)
        .filter(|(name, _)| name.starts_with("x-"))
        .map(|(name, value)| NamedAny { name: name.clone(), value: Some(yaml(value)) })
        .collect()
}

impl Definitions {
    fn from_json(value: &Value) -> Self {
        let named = |(name, schema): (&String, &Value)| NamedSchema {
            name: name.clone(),
            value: Some(Schema::from_json(schema)),
        };
        Self { additional_properties: members(value).map(named).collect() }
    }
}

impl Schema {
    fn from_json(value: &Value) -> Self {
        let type_ = value["type"].as_str();
        Self {
            reference: text(value, "$ref"),
            format: text(value, "format"),
            description: text(value, "description"),
            default: value.get("default").map(yaml),
            required: texts(value, "required"),
            enumeration: value["enum"].as_array().into_iter().flatten().map(yaml).collect(),
            additional_properties: value
                .get("additionalProperties")
                .map(|schema| Box::new(AdditionalPropertiesItem { schema: Some(Box::new(Self::from_json(schema))) })),
            types: type_.map(|name| TypeItem { value: vec![name.to_string()] }),
            items: value.get("items").map(|items| ItemsItem { schema: vec![Self::from_json(items)] }),
            properties: value.get("properties").map(Definitions::from_json),
            vendor_extension: extensions(value),
        }
    }
}

impl PathItem {
    fn from_json(value: &Value) -> Self {
        let operation = |method: &str| value.get(method).map(Operation::from_json);
        Self {
            get: operation("get"),
            put: operation("put"),
            post: operation("post"),
            delete: operation("delete"),
            patch: operation("patch"),
        }
    }
}

impl Operation {
    fn from_json(value: &Value) -> Self {
        let parameters = value["parameters"].as_array().into_iter().flatten();
        Self {
            tags: texts(value, "tags"),
            description: text(value, "description"),
            operation_id: text(value, "operationId"),
            produces: texts(value, "produces"),
            consumes: texts(value, "consumes"),
            parameters: parameters
                .map(|value| ParametersItem { parameter: Some(Parameter::from_json(value)) })
                .collect(),
            responses: Some(Responses::from_json(&value["responses"])),
            vendor_extension: extensions(value),
        }
    }
}

impl Parameter {
    fn from_json(value: &Value) -> Self {
        if value["in"] == "body" {
            let body = BodyParameter {
                name: text(value, "name"),
                place: text(value, "in"),
                required: true,
                schema: Some(Schema::from_json(&value["schema"])),
            };
            return Self { body: Some(body), other: None };
        }
        let query = QueryParameter {
            place: text(value, "in"),
            description: text(value, "description"),
            name: text(value, "name"),
            type_name: text(value, "type"),
            unique_items: value["uniqueItems"] == Value::Bool(true),
        };
        Self { body: None, other: Some(NonBodyParameter { query: Some(query) }) }
    }
}

impl Responses {
    fn from_json(value: &Value) -> Self {
        let one = |(code, value): (&String, &Value)| {
            let schema = value.get("schema").map(|schema| SchemaItem { schema: Some(Schema::from_json(schema)) });
            let response = Response { description: text(value, "description"), schema };
            NamedResponseValue { name: code.clone(), value: Some(ResponseValue { response: Some(response) }) }
        };
        Self { response_code: members(value).map(one).collect() }
    }
}
