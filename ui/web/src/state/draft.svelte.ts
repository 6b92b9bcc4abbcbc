// Devices that were chosen on one page to be mapped on another.

class Draft {
  devices: string[] = [];

  take(): string[] {
    return this.devices.splice(0);
  }
}

export const draft = new Draft();
