//! The forms that nearly every type of an ABI takes: structures with a pinned layout and enumerations that stay open.
//!
//! Only macros, for the crates beside this one.
#![no_std]
#![forbid(unsafe_code)]

#[doc(hidden)]
pub use zerocopy;

/// Declares an open enumeration: a newtype with named constants, which carries values it does not know unharmed.
///
/// `name()` gives the name of a known value; `Debug` prints it, or the number in hexadecimal.
#[macro_export]
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub struct $type:ident($repr:ty) {
            $( $(#[$constant_meta:meta])* $constant:ident = $value:expr; )+
        }
    ) => {
        $(#[$meta])*
        #[repr(transparent)]
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            $crate::zerocopy::FromBytes, $crate::zerocopy::IntoBytes, $crate::zerocopy::Immutable, $crate::zerocopy::KnownLayout,
        )]
        pub struct $type(pub $repr);

        impl $type {
            $( $(#[$constant_meta])* pub const $constant: Self = Self($value); )+

            /// Every value that has a name, in the order of the specification.
            pub const KNOWN: &[Self] = &[$(Self::$constant),+];

            /// The name of a known value.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $( Self::$constant => Some(stringify!($constant)), )+
                    _ => None,
                }
            }
        }

        impl core::fmt::Debug for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, concat!(stringify!($type), "({:#x})"), self.0),
                }
            }
        }
    };
}

/// Pins a layout at compile time: `layout!(Type, size, field @ offset, …)`, all decimal bytes as in the documents.
#[macro_export]
macro_rules! layout {
    ($type:ty, $size:expr $(, $field:ident @ $offset:expr)* $(,)?) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            $( assert!(core::mem::offset_of!($type, $field) == $offset); )*
        };
    };
}

/// Declares a structure that crosses the boundary: C layout and the conversions from and to bytes.
#[macro_export]
macro_rules! wire {
    ($($(#[$meta:meta])* pub struct $type:ident { $($body:tt)* })+) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(
                Clone, Copy, PartialEq, Eq, Debug,
                $crate::zerocopy::FromBytes, $crate::zerocopy::IntoBytes, $crate::zerocopy::Immutable, $crate::zerocopy::KnownLayout,
            )]
            pub struct $type { $($body)* }
        )+
    };
}
