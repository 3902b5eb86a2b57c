//! `goldsmith schema`

use std::process::ExitCode;

/// Print the JSON Schema of recipes, or of manifests
///
/// Editors complete and check recipes with it: the first line of a recipe names the file, in a comment that begins with
/// `yaml-language-server: $schema=`.
///
/// Example: goldsmith schema recipe > docs/recipe.schema.json
#[derive(clap::Args)]
pub struct Args {
    /// Which document
    #[arg(value_enum, default_value_t)]
    document: Document,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Document {
    /// What `goldsmith build` reads
    #[default]
    Recipe,
    /// manifest.json, what `goldsmith build` writes
    Manifest,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let schema = match args.document {
        Document::Recipe => crate::recipe::schema(),
        Document::Manifest => crate::manifest::schema(),
    };
    super::man::print(format!("{schema:#}\n").as_bytes())
}
