//! Which builds of Windows compare machine ids, and so refuse their clones.
//!
//! | build | product | refuses from |
//! |---|---|---|
//! | 26100 | Windows 11 24H2, Server 2025 | revision 5074 (KB5064081, August 2025) |
//! | 26200, 26300, 28000 | Windows 11 25H2, 26H2, 26H1 | the first |
//! | older | Windows 11 23H2, Server 2022 and before | never |
//!
//! Two machines fail only when both do this.

use crate::incident::{Exposure, Role};
use crate::observation::Build;

/// The first build on which any revision compares machine ids.
const FIRST_BUILD: u32 = 26_100;

/// The first revision of [`FIRST_BUILD`] that does.
const FIRST_REVISION: u32 = 5_074;

/// Server 2025 has build 26100 as Windows 11 24H2 does, but revisions from here
/// on since 2026.
const SERVER_REVISION: u32 = 30_000;

/// Builds that were only ever a server: Server 2022, 23H2.
const SERVER_BUILDS: [u32; 2] = [20_348, 25_398];

/// Builds that were only ever a client: Windows 10 1507 to 22H2 but for those
/// that servers share, Windows 11.
const CLIENT_BUILDS: [u32; 15] = [
    10_240, 10_586, 15_063, 16_299, 17_134, 18_362, 18_363, 19_041, 19_042, 19_043, 19_044, 19_045,
    22_000, 22_621, 22_631,
];

/// Updates that bring build 26100 to such a revision: of August, September 2025
/// and April 2026.
const UPDATES: [u32; 5] = [5_064_081, 5_065_426, 5_083_769, 5_082_063, 5_091_157];

/// Whether a host with this build, and with these updates since, refuses its
/// twins.
pub fn exposure_of(build: Option<Build>, mut updates: impl Iterator<Item = u32>) -> Exposure {
    let Some(Build { number, revision }) = build else { return Exposure::Unknown };
    if number == FIRST_BUILD && updates.any(|update| UPDATES.contains(&update)) {
        return Exposure::Enforcing;
    }
    match (number, revision) {
        (..FIRST_BUILD, _) => Exposure::NotAffected,
        (FIRST_BUILD, None) => Exposure::Unknown,
        (FIRST_BUILD, Some(..FIRST_REVISION)) => Exposure::EnforcingAfterUpdate,
        (FIRST_BUILD.., _) => Exposure::Enforcing,
    }
}

/// What a build says of the role of its host.
pub fn role_of(build: Build) -> Role {
    match build {
        Build { number, .. } if SERVER_BUILDS.contains(&number) => Role::Server,
        Build { number, .. } if CLIENT_BUILDS.contains(&number) => Role::Workstation,
        Build { number: FIRST_BUILD, revision: Some(SERVER_REVISION..) } => Role::Server,
        Build { number, .. } if number > FIRST_BUILD => Role::Workstation,
        _ => Role::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_update_of_august_2025_makes_the_difference() {
        for (number, revision, exposure) in [
            (22_631, Some(5_909), Exposure::NotAffected),
            (20_348, Some(4_171), Exposure::NotAffected),
            (26_100, Some(5_073), Exposure::EnforcingAfterUpdate),
            (26_100, Some(5_074), Exposure::Enforcing),
            (26_100, Some(32_690), Exposure::Enforcing),
            (26_100, None, Exposure::Unknown),
            (26_200, None, Exposure::Enforcing),
            (28_000, Some(1), Exposure::Enforcing),
        ] {
            let build = Some(Build { number, revision });
            assert_eq!(exposure_of(build, std::iter::empty()), exposure, "{number}");
        }
        assert_eq!(exposure_of(None, std::iter::empty()), Exposure::Unknown);
        let updated = |number, update| {
            let build = Build { number, revision: Some(4_061) };
            exposure_of(Some(build), std::iter::once(update))
        };
        assert_eq!(updated(26_100, 5_065_426), Exposure::Enforcing);
        assert_eq!(updated(26_100, 2_267_602), Exposure::EnforcingAfterUpdate);
        assert_eq!(updated(20_348, 5_082_063), Exposure::NotAffected);
    }

    #[test]
    fn builds_that_server_and_client_share_say_nothing_of_the_role() {
        let role = |number, revision| role_of(Build { number, revision });
        assert_eq!(role(17_763, Some(1)), Role::Unknown);
        assert_eq!(role(26_100, Some(6_584)), Role::Unknown);
        assert_eq!(role(26_100, Some(32_690)), Role::Server);
        assert_eq!(role(22_631, None), Role::Workstation);
        assert_eq!(role(26_200, None), Role::Workstation);
    }
}
