export default (_delivery) => true
