//! Small values that every room speaks: parsed once at the edge, valid ever after. Uses no other room.

mod answer;
mod bounded;
mod byte_size;
mod distance;
mod duration;
mod escaped;
mod fragment;
mod guest_path;
mod parameter;
mod sha256;
mod text;
mod utc;

pub use answer::{ANSWER_KINDS, Answer};
pub use bounded::{Bounded, BoundsError, Epoch, FileSize, PackageCount, Port, Seconds};
pub use byte_size::{ByteSize, ByteSizeError};
pub use distance::{did_you_mean, distance, nearest};
pub use duration::duration;
pub use escaped::{escaped, escaped_json, escaped_lines, is_hidden, masked};
pub use fragment::{Fragment, FragmentError};
pub use guest_path::{GuestPath, GuestPathError};
pub use parameter::ParameterKind;
pub use sha256::{Hasher, Sha256, Sha256Error};
pub use text::{
    ArchitectureName, Banner, BootArgument, FileName, FilesystemLabel, HttpPath, InterfaceName, InterfacePattern,
    KernelRelease, Line, Mode, Name, Owner, ParameterName, ParameterValue, RuleId, TextError, Uuid, present, shown,
    visible,
};
pub use utc::utc;
