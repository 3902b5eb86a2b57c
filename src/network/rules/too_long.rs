use super::prelude::*;

rule! {
    /// The command line is longer than the kernel takes.
    ///
    /// # Why it is refused
    /// x86 has room for 2048 bytes, the terminator included. What is behind is cut off, or the VMM does not start at all;
    /// which argument is lost depends on their order.
    ///
    /// # Fix
    /// Shorten it; hand large values over on a disk or by a metadata service.
    ///
    /// Source: kernel `arch/x86/include/asm/setup.h` (`COMMAND_LINE_SIZE`); Firecracker `arch/x86_64/layout.rs`.
    TOO_LONG, "NET-K023", "too-long", Error, |net, report| {
        const MOST: usize = 2048;
        let length = net.line.len();
        if length >= MOST {
            report.push(RULE.finding(format!("the kernel arguments have {length} bytes; at most {} fit", MOST - 1)).help("shorten them"));
        }
    }
}
