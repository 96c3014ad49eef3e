// Adds a button to each row of a table of conventions, and to each matrix, that puts its numbers on the clipboard.

function copyButton(what, text) {
  const button = document.createElement('button');
  Object.assign(button, { type: 'button', className: 'ds-copy', textContent: 'Copy', ariaLabel: `Copy ${what}` });
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Not allowed';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1200);
  });
  return button;
}

const texts = (row) => [...row.cells].map((cell) => cell.textContent.trim());

function decorate() {
  for (const row of element.querySelectorAll('table.ds-conventions tr')) {
    const cell = row.insertCell(-1);
    if (!row.closest('tbody')) continue;
    const [name, yaw, pitch, roll, t] = texts(row);
    cell.append(copyButton(name, `${name}: yaw ${yaw}, pitch ${pitch}, roll ${roll}${t === '–' ? '' : `, t ${t}`}`));
  }
  for (const table of element.querySelectorAll('table.matrix')) {
    const rows = [...table.rows].map((row) => `[${texts(row).join(', ')}]`);
    table.closest('.table-scroll').after(copyButton('the matrix', `[${rows.join(', ')}]`));
  }
}

watch('value', decorate);
decorate();
