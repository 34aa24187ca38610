// What a table of pictures does: its head sorts, and a number of the confusion table shows the pictures it counts.
function tabled(root) {
  const rows = () => [...root.querySelectorAll('.pictures tbody tr')];
  const only = (wanted) => {
    root.wanted = wanted; // of rows that come later
    rows().forEach((row) => { row.hidden = !wanted(row.dataset); });
    root.querySelector('.all').hidden = rows().every((row) => !row.hidden);
  };
  root.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    if (button.matches('.pictures th button')) {
      const column = button.parentElement.cellIndex;
      const key = (row) => row.cells[column]?.textContent.trim() ?? '';
      const down = button.dataset.down = button.dataset.down ? '' : '1';
      const sorted = rows().sort((a, b) => key(a).localeCompare(key(b), undefined, { numeric: true }));
      root.querySelector('.pictures tbody').append(...(down ? sorted : sorted.reverse()));
    } else if (button.matches('.confusion button')) {
      const { label, predicted } = button.dataset;
      only((row) => row.label === label && row.predicted === predicted);
    } else if (button.matches('.all')) only(() => true);
  });
}
