//! Boots VMs from built images: the gate, the per-VM disk, the host network, the VMM drivers, the probes, the clean-up.
//! Uses `manifest`, `image`, `network`, `boot`.
