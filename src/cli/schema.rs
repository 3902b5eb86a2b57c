//! `goldsmith schema`

use std::process::ExitCode;

/// Print the JSON Schema of recipes, or of manifests
///
/// Editors complete and check recipes with it: a recipe's first line names it, as in
/// `# yaml-language-server: $schema=recipe.schema.json`.
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
