// A front end that loads models when they are asked for, as Colab's does, is asked for the one that brings the script:
// others have it, or will.
const find = async (model) => slot.bring && model.widget_manager.get_model(model.get("script_model").slice(10));
export default () => {
  let own;
  return {
    async initialize(context) {
      find(context.model).catch(() => {});
      own = (await slot.script).default();
      return own.initialize(context);
    },
    render: (context) => own.render(context),
  };
};
