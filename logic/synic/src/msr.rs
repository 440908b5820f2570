//! Numbers of the MSRs served here (TLFS 11.8 and 12.5).

pub(crate) const SCONTROL: u32 = 0x4000_0080;
pub(crate) const SVERSION: u32 = 0x4000_0081;
pub(crate) const SIEFP: u32 = 0x4000_0082;
pub(crate) const SIMP: u32 = 0x4000_0083;
pub(crate) const EOM: u32 = 0x4000_0084;
pub(crate) const SIRBP: u32 = 0x4000_0085;
pub(crate) const SINT0: u32 = 0x4000_0090;
pub(crate) const SINT15: u32 = 0x4000_009f;
pub(crate) const STIMER0_CONFIG: u32 = 0x4000_00b0;
pub(crate) const STIMER3_COUNT: u32 = 0x4000_00b7;
