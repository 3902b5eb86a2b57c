//! What a rule says about itself.

use super::Severity;

/// The documentation of a rule: `goldsmith explain`, SARIF and the web page come from this one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleDoc {
    /// Stable id, never reused: `REC-004`, `NET-K002`.
    pub id: &'static str,
    /// The id in words: `unknown-key`.
    pub slug: &'static str,
    /// How much its findings weigh.
    pub severity: Severity,
    /// One sentence: what it finds.
    pub title: &'static str,
    /// Why that is bad, an example, how to fix it. Markdown.
    pub text: &'static str,
}
