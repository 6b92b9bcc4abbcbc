//! The machine goes off and comes back, by an operator or by a power failure (G13).

use anyhow::{Result, ensure};
use pgw_lab::Lab;
use pgw_lab::lab::eventually;
use pgw_lab::net::{C1, STRANGER};
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;

use crate::numbers;
use crate::setup::{Flood, installed_now, is_open, on_a_machine};

crate::tests![g13_no_packet_gets_out_before_the_rules_and_devices_are_open_again_by_themselves];

async fn g13_no_packet_gets_out_before_the_rules_and_devices_are_open_again_by_themselves(
    mut lab: Lab,
) -> Result<()> {
    on_a_machine(async |machine| {
        let (rest, mapping) = installed_now(&mut lab, machine).await?;
        for power_failure in [false, true] {
            let (vigil, flood) = (Vigil::begin(C1).await?, Flood::begin(C1).await?);
            // Whom nobody registered is free to go, and shows that there was a way at all.
            let witness = Flood::begin(STRANGER).await?;
            if power_failure {
                machine.cut().await?;
            } else {
                machine.power_off().await?;
            }
            let until_off = flood.so_far().await?;
            ensure!(until_off == 0, "{until_off} packets of the device came out while the machine went off");
            machine.boot().await?;
            rest.wait_ready().await?;
            rest.wait_state(&mapping, "APPLIED").await?;
            eventually("the device is open again", async || Ok(is_open(&lab, C1).await.ok())).await?;
            vigil.end(&[Kind::Squid.ip()]).await?;
            let (leaked, took) = flood.end().await?;
            let (passed, _) = witness.end().await?;
            ensure!(passed > 0, "nobody's packets came out, and zero of the device's prove nothing");
            ensure!(leaked == 0, "{leaked} packets of the device came out during the boot");
            let (name, how) = if power_failure {
                ("5-cut", "without power all at once")
            } else {
                ("4-off", "switched off in order")
            };
            numbers::keep(
                name,
                &format!(
                    "packets of a registered device that came out while the gateway was {how} and booted"
                ),
                "0",
                &format!(
                    "{leaked} ({passed} of an unregistered one; open again after {:.0} s)",
                    took.as_secs_f32()
                ),
            )?;
        }
        Ok(())
    })
    .await
}
