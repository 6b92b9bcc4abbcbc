class Keys {
  shown = $state(false);
}

/** Is the list of keys open? */
export const keys = new Keys();
