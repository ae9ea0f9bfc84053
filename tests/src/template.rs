//! `template.yaml` as tests read it: its functions with their variables and roles, and its resources.
//!
//! It must not know what the template should say.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

/// The template.
#[derive(Debug)]
pub struct Template(Value);

/// A function of the template.
#[derive(Debug)]
pub struct TemplateFunction {
    /// Its name, without the stack's.
    pub name: String,
    /// Its properties.
    pub properties: Value,
    /// Its variables, with those that all functions have.
    pub variables: BTreeMap<String, Value>,
    /// The statements of its role.
    pub statements: Vec<Value>,
}

impl Template {
    /// Reads the file at the root of the repository.
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        Self(of_yaml(yaml_serde::from_str(&text).unwrap()))
    }

    /// A part of the template, by its path.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("template.yaml has no {pointer}"))
    }

    /// The resources of a type, by their logical names.
    pub fn resources(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        let all = self.at("/Resources").as_object().unwrap();
        all.iter()
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(name, resource)| (name.as_str(), resource))
    }

    /// The functions.
    pub fn functions(&self) -> impl Iterator<Item = TemplateFunction> {
        let variables = |of: &Value| -> BTreeMap<String, Value> {
            let variables = of["Environment"]["Variables"].as_object().cloned();
            variables.unwrap_or_default().into_iter().collect()
        };
        let of_all = variables(self.at("/Globals/Function"));
        self.resources("AWS::Serverless::Function").map(move |(_, resource)| {
            let properties = resource["Properties"].clone();
            let name = text(&properties["FunctionName"]);
            let role = text(&properties["Role"]);
            let role = role.strip_suffix(".Arn").unwrap();
            let policies = self.at(&format!("/Resources/{role}/Properties/Policies"));
            let statements = policies.as_array().unwrap().iter();
            let statements = statements.flat_map(|policy| {
                policy["PolicyDocument"]["Statement"].as_array().unwrap().clone()
            });
            TemplateFunction {
                name: name.strip_prefix("${AWS::StackName}-").unwrap().to_owned(),
                variables: of_all.clone().into_iter().chain(variables(&properties)).collect(),
                statements: statements.collect(),
                properties,
            }
        })
    }
}

/// A text, or what an intrinsic function such as `!Sub`, `!Ref` or `!GetAtt` was given.
pub fn text(value: &Value) -> String {
    let inner = match value {
        Value::Object(tagged) if tagged.len() == 1 => tagged.values().next().unwrap(),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => value,
    };
    inner.as_str().map(ToOwned::to_owned).unwrap_or_default()
}

/// YAML as JSON, where `!Sub x` becomes `{"!Sub": "x"}`.
fn of_yaml(value: yaml_serde::Value) -> Value {
    match value {
        yaml_serde::Value::Tagged(tagged) => {
            Value::Object(Map::from_iter([(tagged.tag.to_string(), of_yaml(tagged.value))]))
        }
        yaml_serde::Value::Sequence(all) => all.into_iter().map(of_yaml).collect(),
        yaml_serde::Value::Mapping(all) => {
            let member = |(name, value)| (text(&of_yaml(name)), of_yaml(value));
            Value::Object(all.into_iter().map(member).collect())
        }
        yaml_serde::Value::Null
        | yaml_serde::Value::Bool(_)
        | yaml_serde::Value::Number(_)
        | yaml_serde::Value::String(_) => serde_json::to_value(value).unwrap(),
    }
}
