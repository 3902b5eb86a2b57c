//! The network model, on guests made of files that real ones have.
#![no_main]

use goldsmith::findings::render::Format;
use goldsmith::network;
use goldsmith_fuzz::choices::Choices;
use goldsmith_fuzz::guest::guest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let inputs = guest(&mut Choices(bytes));
    let network = network::evaluate(&inputs);
    let _ = goldsmith::cli::fuzz::pages(&network);
    for format in [Format::Human, Format::Json, Format::Sarif, Format::Github] {
        let _ = format.render(&network.findings, &network::rules(), true);
    }
});
