//! The exact kernel arguments of one launch. Pure.

use crate::boot::KernelArgs;
use crate::manifest::{Boot, BootParameter};
use crate::values::{BootArgument, ParameterName, TextError, did_you_mean, shown};
use std::collections::BTreeMap;

/// Why a launch's arguments cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A parameter that the manifest does not declare.
    #[error("the image has no parameter `{name}`\nhelp: {hint}")]
    Unknown {
        /// What was set.
        name: String,
        /// The nearest one, or all of them.
        hint: String,
    },
    /// A value of another type.
    #[error("the parameter `{name}`: {problem}\nhelp: --set {name}=VALUE")]
    Value {
        /// The parameter.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A parameter without which the image cannot be launched.
    #[error("the parameter `{name}` must be set{description}\nhelp: --set {name}=VALUE")]
    Missing {
        /// The parameter.
        name: String,
        /// What the recipe says about it, in parentheses.
        description: String,
    },
    /// Something that no kernel argument can be.
    #[error("{0}\nhelp: --append 'NAME=VALUE …'")]
    Append(TextError),
    /// All of them are too long for a kernel.
    #[error("the kernel arguments have {length} characters together, and a kernel takes {most}\nhelp: give fewer", most = BootArgument::MOST)]
    TooLong {
        /// Their length.
        length: usize,
    },
}

/// The kernel arguments in order: the manifest's, its parameters by name, `append`, and what the launcher itself `adds`.
pub fn arguments(
    boot: &Boot,
    set: &[(String, String)],
    append: &str,
    adds: &[String],
) -> Result<KernelArgs, ArgumentError> {
    let given: BTreeMap<&str, &str> = set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if let Some(name) = given.keys().find(|name| !boot.parameters.contains_key(**name)) {
        let names = || boot.parameters.keys().map(ParameterName::as_str);
        let hint = match did_you_mean(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if boot.parameters.is_empty() => "it declares none (recipe: `boot.parameters`)".to_owned(),
            None => format!("its parameters are: {}", names().collect::<Vec<_>>().join(", ")),
        };
        return Err(ArgumentError::Unknown { name: shown(name), hint });
    }
    let mut parts: Vec<String> = boot.args.iter().map(ToString::to_string).collect();
    for (name, parameter) in &boot.parameters {
        let value = match given.get(name.as_str()) {
            Some(value) => Some(*value),
            None => default(name, parameter)?,
        };
        let Some(value) = value else { continue };
        parameter.kind.accepts(value).map_err(|problem| ArgumentError::Value { name: name.to_string(), problem })?;
        parts.push(format!("{name}={value}"));
    }
    parts.push(append.to_owned());
    parts.extend(adds.iter().cloned());
    let args = KernelArgs::parse(&KernelArgs::parse(&parts.join(" ")).to_string());
    if let Some(bad) = args.iter().find_map(|arg| arg.text.parse::<BootArgument>().err()) {
        return Err(ArgumentError::Append(bad));
    }
    match args.to_string().len() {
        length if length > BootArgument::MOST => Err(ArgumentError::TooLong { length }),
        _ => Ok(args),
    }
}

fn default<'p>(name: &str, parameter: &'p BootParameter) -> Result<Option<&'p str>, ArgumentError> {
    if parameter.default.is_none() && !parameter.optional {
        let description = parameter.description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
        return Err(ArgumentError::Missing { name: name.to_owned(), description });
    }
    Ok(parameter.default.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::ParameterKind;

    fn boot(optional: bool) -> Boot {
        let port = BootParameter {
            kind: ParameterKind::Port,
            optional,
            default: None,
            description: Some(crate::values::Line::lossy("Port")),
        };
        let args = ["root=/dev/vda", "rw"].map(|arg| arg.parse().unwrap());
        Boot { args: args.into(), parameters: [("decodo_port".parse().unwrap(), port)].into() }
    }

    fn set(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn parameters_stand_behind_the_manifest_and_before_what_is_appended() {
        let line = arguments(&boot(true), &set("decodo_port", "10001"), " quiet ip=off ", &["tsc_early_khz=1".into()]);
        assert_eq!(line.unwrap().to_string(), "root=/dev/vda rw decodo_port=10001 quiet ip=off tsc_early_khz=1");
        assert_eq!(arguments(&boot(true), &[], "", &[]).unwrap().to_string(), "root=/dev/vda rw");
    }

    #[test]
    fn what_is_not_declared_missing_or_of_another_type_is_said() {
        let text = |result: Result<KernelArgs, ArgumentError>| result.unwrap_err().to_string();
        assert!(text(arguments(&boot(true), &set("decodo_prt", "1"), "", &[])).contains("did you mean `decodo_port`"));
        assert!(text(arguments(&boot(true), &set("decodo_port", "0"), "", &[])).contains("1 to 65535"));
        assert!(text(arguments(&boot(true), &set("decodo_port", "1 ip=off"), "", &[])).contains("1 to 65535"));
        assert!(text(arguments(&boot(false), &[], "", &[])).contains("must be set (Port)"));
        for append in ["a\u{1b}[2J", "a\0b", "ü=1", "x=\"a b"] {
            let message = text(arguments(&boot(true), &[], append, &[]));
            assert!(message.contains("one kernel argument") && !message.contains(['\u{1b}', '\0']), "{message:?}");
        }
        let long = "x ".repeat(1024);
        assert!(text(arguments(&boot(true), &[], &long, &[])).contains("a kernel takes 2047"));
    }
}
