// The examples. value: the number of the one that was clicked. Event: 'pick'.
element.querySelectorAll('button').forEach((button) => button.addEventListener('click', () => {
  props.value = Number(button.dataset.number);
  trigger('pick');
}));
