use super::prelude::*;

rule! {
    /// The root filesystem is read-only, and there is no machine-id file to mount one over.
    ///
    /// # Why it is refused
    /// systemd makes a machine-id in memory and mounts it over `/etc/machine-id`; without a file there it cannot, and units that
    /// need an id fail, networkd's DHCP client among them.
    ///
    /// # Fix
    /// Put an empty `/etc/machine-id` into the image, or boot with `rw`.
    ///
    /// Source: machine-id(5), systemd `machine-id-setup.c`.
    READ_ONLY_ROOT, "NET-I009", "read-only-root", Error, |net, report| {
        if net.machine_id != MachineId::Missing {
            return;
        }
        let mode = net.args.iter().rfind(|arg| matches!(arg.text.as_str(), "ro" | "rw"));
        let fstab = net.inputs.snapshot.text("/etc/fstab").flatten().unwrap_or_default();
        let root_line = fstab.lines().map(str::split_whitespace).find_map(|mut words| {
            let (device, place) = (words.next()?, words.next()?);
            (place == "/" && !device.starts_with('#')).then(|| words.nth(1).unwrap_or_default().to_owned())
        });
        let remounts = root_line.is_some_and(|options| !options.split(',').any(|option| option == "ro"));
        let Some(arg) = mode.filter(|arg| arg.text == "ro" && !remounts) else { return };
        report.push(RULE.finding("the root is read-only, and there is no /etc/machine-id").at(net.place(arg).evidence("mounts it read-only")).help("put an empty /etc/machine-id into the image, or boot with `rw`"));
    }
}
