//! What is known of a hypercall before it is made.

use hvdef::HypercallCode;
use hvdef::cpuid::PartitionPrivileges;

/// Whether a call works through a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Once; rep count and start are 0.
    Simple,
    /// On each element of a list; it can be continued in the middle.
    Rep,
}

/// Who may make a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The root.
    Root,
    /// Any partition that has the privileges.
    Any,
    /// The root, and any other partition that has these privileges besides.
    RootOr(PartitionPrivileges),
}

/// What a call is about. The handler resolves the partition id in the input accordingly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The caller's own partition; an id in the input is its own, or `SELF`.
    Caller,
    /// A partition the caller created.
    Child,
    /// Either.
    CallerOrChild,
    /// The machine.
    Machine,
}

/// A hypercall: its form, who may make it and how large its parts are. Sizes are in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallInfo {
    /// Which.
    pub code: HypercallCode,
    /// Once or for each element.
    pub kind: Kind,
    /// Input may be in registers, if it fits.
    pub fast: bool,
    /// The input has a variable header between the fixed one and the list.
    pub variable_header: bool,
    /// Fixed part of the input, up to where the variable header counts.
    pub input: u16,
    /// Element of the input list; 0 for a rep call without one.
    pub rep_input: u16,
    /// Output before the list; with `output_is_limit` as much as the rest of the page takes, up to this.
    pub output: u16,
    /// Whether the output may be shorter than `output`.
    pub output_is_limit: bool,
    /// Element of the output list.
    pub rep_output: u16,
    /// Privileges without which it is refused.
    pub needs: PartitionPrivileges,
    /// Who may make it.
    pub scope: Scope,
    /// What it is about.
    pub target: Target,
}

impl CallInfo {
    /// The name, for logs and counters.
    pub fn name(&self) -> &'static str {
        self.code.name().unwrap_or("UNKNOWN")
    }

    pub(crate) const fn simple(code: HypercallCode, target: Target) -> Self {
        Self {
            code,
            kind: Kind::Simple,
            fast: false,
            variable_header: false,
            input: 0,
            rep_input: 0,
            output: 0,
            output_is_limit: false,
            rep_output: 0,
            needs: PartitionPrivileges::new(),
            scope: Scope::Any,
            target,
        }
    }

    pub(crate) const fn rep(code: HypercallCode, target: Target) -> Self {
        Self { kind: Kind::Rep, ..Self::simple(code, target) }
    }

    pub(crate) const fn input<T>(self) -> Self {
        Self { input: size::<T>(), ..self }
    }

    /// The fixed part ends `bytes` before the end of `T`: those count as variable header.
    pub(crate) const fn input_less<T>(self, bytes: u16) -> Self {
        Self { input: size::<T>() - bytes, ..self }
    }

    pub(crate) const fn output<T>(self) -> Self {
        Self { output: size::<T>(), ..self }
    }

    pub(crate) const fn output_up_to(self, bytes: u16) -> Self {
        Self { output: bytes, output_is_limit: true, ..self }
    }

    pub(crate) const fn each_input<T>(self) -> Self {
        Self { rep_input: size::<T>(), ..self }
    }

    pub(crate) const fn each_output<T>(self) -> Self {
        Self { rep_output: size::<T>(), ..self }
    }

    pub(crate) const fn fast(self) -> Self {
        Self { fast: true, ..self }
    }

    pub(crate) const fn variable_header(self) -> Self {
        Self { variable_header: true, ..self }
    }

    pub(crate) const fn needs(self, privileges: PartitionPrivileges) -> Self {
        Self { needs: privileges, ..self }
    }

    pub(crate) const fn root(self) -> Self {
        Self { scope: Scope::Root, ..self }
    }

    pub(crate) const fn root_or(self, privileges: PartitionPrivileges) -> Self {
        Self { scope: Scope::RootOr(privileges), ..self }
    }
}

const fn size<T>() -> u16 {
    assert!(size_of::<T>() <= hvdef::PAGE_SIZE);
    size_of::<T>() as u16
}
