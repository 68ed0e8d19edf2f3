// Choosing another version, on a host that has them in folders beside each other and their names in versions.json.

const site = new URL(document.documentElement.dataset.content_root, location.href);

async function offerVersions() {
  const answer = await fetch(new URL("../versions.json", site));
  if (!answer.ok) return;
  const here = site.pathname.split("/").at(-2);
  const select = document.getElementById("versions");
  for (const name of await answer.json()) select.add(new Option(name, name, false, name === here));
  select.onchange = () => location.assign(new URL(`../${select.value}/`, site));
  select.hidden = false;
}

if (location.protocol !== "file:") offerVersions();
