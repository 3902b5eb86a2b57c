//! The form for people: the line at fault, a caret, what follows, what to type.

use super::super::{Evidence, Finding, Severity, WIDTH, first_shown};
use super::place;
use crate::values::masked as printable;
use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;

/// Renders findings, a blank line between two.
pub fn human(findings: &[Finding], color: bool) -> String {
    let blocks: Vec<_> = findings.iter().map(|finding| block(finding, &Styles::new(finding, color))).collect();
    blocks.join("\n")
}

struct Styles {
    title: Style,
    strong: Style,
    frame: Style,
    help: Style,
}

impl Styles {
    fn new(finding: &Finding, color: bool) -> Self {
        let plain = Style::new();
        if !color {
            return Self { title: plain, strong: plain, frame: plain, help: plain };
        }
        let title = match finding.severity {
            _ if finding.waived.is_some() => AnsiColor::Blue,
            Severity::Error => AnsiColor::Red,
            Severity::Warning => AnsiColor::Yellow,
            Severity::Info => AnsiColor::Blue,
        };
        Self {
            title: title.on_default().bold(),
            strong: plain.bold(),
            frame: AnsiColor::Cyan.on_default(),
            help: AnsiColor::Green.on_default().bold(),
        }
    }
}

fn block(finding: &Finding, styles: &Styles) -> String {
    let Styles { title, strong, frame, help } = styles;
    let word = match finding.severity {
        _ if finding.waived.is_some() => "waived",
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let message = printable(&finding.message);
    let mut out = format!("{title}{word}[{}]{title:#}{strong}: {message}{strong:#}\n", finding.rule);
    for evidence in &finding.evidence {
        excerpt(&mut out, evidence, styles);
    }
    for note in &finding.notes {
        let _ = writeln!(out, "  {frame}={frame:#} {}", printable(note));
    }
    if let Some(reason) = &finding.waived {
        let _ = writeln!(out, "  {frame}={frame:#} waived: {}", printable(reason));
    }
    if let Some(text) = &finding.help {
        let _ = writeln!(out, "  {frame}={frame:#} {help}help{help:#}: {}", printable(text));
    }
    out
}

fn excerpt(out: &mut String, evidence: &Evidence, styles: &Styles) {
    let Styles { title, frame, .. } = styles;
    let _ = writeln!(out, "  {frame}┌─{frame:#} {}", printable(&place(evidence)));
    if evidence.text.is_empty() && evidence.label.is_empty() {
        return;
    }
    let window = Window::around(evidence);
    let _ = writeln!(out, "  {frame}│{frame:#} {}", window.text);
    let carets = "^".repeat(window.carets);
    let line = format!("{}{title}{carets} {}{title:#}", " ".repeat(window.indent), printable(&evidence.label));
    let _ = writeln!(out, "  {frame}│{frame:#} {}", line.trim_end());
}

/// A line, cut when it is long, and where the caret goes below it.
struct Window {
    text: String,
    indent: usize,
    carets: usize,
}

impl Window {
    fn around(evidence: &Evidence) -> Self {
        let line: Vec<char> = printable(&evidence.text).chars().collect();
        let cut = evidence.start.saturating_sub(1);
        let caret = evidence.column.saturating_sub(1 + cut).min(line.len());
        let carets = evidence.length.clamp(1, (line.len() - caret).max(1));
        if line.len() <= WIDTH && cut == 0 {
            return Self { text: line.into_iter().collect(), indent: caret, carets };
        }
        let start = if cut > 0 { 0 } else { first_shown(caret, carets) };
        let shown: String = line.iter().skip(start).take(WIDTH).collect();
        let head = if start + cut > 0 { "… " } else { "" };
        let tail = if start + WIDTH < line.len() { " …" } else { "" };
        let indent = caret - start + head.chars().count();
        Self { text: format!("{head}{shown}{tail}"), indent, carets: carets.min(WIDTH - (caret - start)) }
    }
}
