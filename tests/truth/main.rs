//! The truth table: combinations of image, arguments, kernel and host are predicted by the network model from the
//! image's own files, then really booted, and what happens is compared. Writes `docs/truth-table.md`.
//!
//! `make truth` runs all rows (about 20 minutes on two processors, and the first time 10 more for a kernel);
//! `TRUTH='Debian: DHCP|clones' make truth` only those with such words in their names, and writes nothing.
//! Images and observations stay in `target/tmp/truth` and are used again as long as nothing that they depend on has changed;
//! predictions are always made anew. Delete the folder to boot everything again.

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod image;
mod kernel;
mod lab;
mod machine;
mod predict;
mod table;

use cases::Case;
use image::Images;
use std::sync::Mutex;
use std::time::Instant;
use table::Row;

/// How many labs, and so how many machines, run at once.
const LABS: usize = 2;

/// Predicts, boots, and says what came of both.
fn row(index: usize, case: &Case, images: &Images, lab: &lab::Lab) -> Row {
    let started = Instant::now();
    let booted = images.prepare(index, case);
    let predicted = predict::predict(case, &booted);
    let observed = machine::observe(case, &booted, lab);
    booted.discard();
    let row = Row::new(case, predicted, observed);
    println!("{:>3}. {:4} s  {}", index + 1, started.elapsed().as_secs(), row.line());
    row
}

#[test]
#[ignore = "boots dozens of machines: run it with `make truth`"]
fn what_is_predicted_is_what_happens() {
    assert!(common::is_root("the truth table"), "run `sudo -E make truth`");
    common::need("qemu-system-x86_64", "apt-get install qemu-system-x86");
    common::need("debugfs", "apt-get install e2fsprogs");
    let filter = std::env::var("TRUTH").unwrap_or_default();
    let wanted = |case: &Case| {
        let name = format!("{}: {}", machine::describe(case), case.name);
        filter.split('|').any(|part| name.contains(part))
    };
    let cases: Vec<Case> = cases::all().into_iter().filter(wanted).collect();
    let images = Images::build(&cases);
    // Rows with two machines come last and one at a time: never more than two machines run.
    let (alone, pairs): (Vec<usize>, Vec<usize>) = (0..cases.len()).partition(|index| !cases[*index].twins);
    let rows: Mutex<Vec<Option<Row>>> = Mutex::new(cases.iter().map(|_| None).collect());
    for (queue, workers) in [(alone, LABS), (pairs, 1)] {
        let queue = Mutex::new(queue.into_iter());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    let lab = lab::Lab::new();
                    loop {
                        let Some(index) = queue.lock().unwrap().next() else { return };
                        let row = row(index, &cases[index], &images, &lab);
                        rows.lock().unwrap()[index] = Some(row);
                    }
                });
            }
        });
    }
    let rows: Vec<Row> = rows.into_inner().unwrap().into_iter().flatten().collect();
    if filter.is_empty() {
        std::fs::write(common::repository().join("docs/truth-table.md"), table::render(&rows)).unwrap();
    }
    let wrong: Vec<String> = rows.iter().filter(|row| !row.right()).map(Row::line).collect();
    assert!(wrong.is_empty(), "{} of {} rows differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
